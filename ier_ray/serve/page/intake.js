// Where pictures come from: the file dialog, drag and drop, the clipboard, and drawn examples.

const EXAMPLES = 6;
const SEEDS = 10_000;

/**
 * A picture to explain. `size` is null if this browser cannot show it; `said` has the probabilities of
 * each network, `maps` the explanations, as they come.
 */
async function pictureOf(blob, name) {
  let size = null;
  try {
    const bitmap = await createImageBitmap(blob);
    size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
  } catch {
    // the service may still read it
  }
  return { blob, name, size, address: URL.createObjectURL(blob), classes: [], said: {}, maps: new Map() };
}

/** Call `taken` with each picture that somebody gives. `failed` gets errors. */
export function takePictures({ taken, failed }) {
  const take = async (blob, name) => {
    try {
      taken(await pictureOf(blob, name));
    } catch (error) {
      failed(error);
    }
  };
  pick(take);
  drop(take);
  document.addEventListener("paste", event => {
    const file = event.clipboardData?.files[0];
    if (file) take(file, file.name || "pasted picture");
  });
  examples(take, failed);
}

function pick(take) {
  const input = document.querySelector("#file");
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) take(file, file.name);
    input.value = ""; // so that the same file can be picked again
  });
}

function drop(take) {
  const veil = document.querySelector("#veil");
  let depth = 0; // of elements that the pointer has entered and not left
  const carries = event => event.dataTransfer?.types.includes("Files");
  const reveal = by => {
    depth = Math.max(0, depth + by);
    veil.hidden = depth === 0;
  };
  addEventListener("dragenter", event => carries(event) && reveal(1));
  addEventListener("dragleave", event => carries(event) && reveal(-1));
  addEventListener("dragover", event => carries(event) && event.preventDefault());
  addEventListener("drop", event => {
    if (!carries(event)) return;
    event.preventDefault();
    reveal(-Infinity);
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name);
  });
}

/** Buttons with drawn scenes; which ones depends on nothing but how often others were asked for. */
function examples(take, failed) {
  const list = document.querySelector("#examples");
  let first = 0;
  const show = () => {
    list.replaceChildren(...Array.from({ length: EXAMPLES }, (_, index) => exampleOf((first + index) % SEEDS)));
    first += EXAMPLES;
  };
  const exampleOf = seed => {
    const address = `page/examples/${seed}.png`;
    const image = Object.assign(new Image(128, 128), { src: address, alt: `Drawn scene ${seed + 1}`, loading: "lazy" });
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(image);
    button.addEventListener("click", async () => {
      try {
        const reply = await fetch(address);
        if (!reply.ok) throw new Error(`Status ${reply.status}.`);
        await take(await reply.blob(), `scene-${seed + 1}.png`);
      } catch (error) {
        failed(error);
      }
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  };
  document.querySelector("#others").addEventListener("click", show);
  show();
}
