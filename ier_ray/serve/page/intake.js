// Where pictures come from: the file dialog, drag and drop, the clipboard, and drawn examples.

import { hasDialog, pageHasKeys } from "./modal.js";
import { request } from "./service.js";

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

/** Call `taken` with each picture that somebody gives; `attempt` with what may fail on the way. */
export function takePictures({ taken, attempt }) {
  const take = (blob, name) => attempt("picture", async () => taken(await pictureOf(blob, name)));
  pick(take);
  drop(take);
  document.addEventListener("paste", event => {
    const file = event.clipboardData?.files[0];
    if (file && pageHasKeys()) take(file, file.name || "pasted picture");
  });
  examples(take, attempt);
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
  addEventListener("dragenter", event => carries(event) && !hasDialog() && reveal(1));
  addEventListener("dragleave", event => carries(event) && reveal(-1));
  addEventListener("dragover", event => carries(event) && event.preventDefault());
  addEventListener("drop", event => {
    if (!carries(event)) return;
    event.preventDefault();
    reveal(-Infinity);
    const [file] = event.dataTransfer.files;
    if (file && !hasDialog()) take(file, file.name);
  });
}

/** Buttons with drawn scenes; which ones depends on nothing but how often others were asked for. */
function examples(take, attempt) {
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
    const fetchIt = async () => take(await (await request(address)).blob(), `scene-${seed + 1}.png`);
    button.addEventListener("click", () => attempt("scene", fetchIt));
    const item = document.createElement("li");
    item.append(button);
    return item;
  };
  document.querySelector("#others").addEventListener("click", show);
  show();
}
