"use strict";
const FORMAT = "ier_ray study answers", VERSION = 1;
const SMALLEST = 0.01, STEP = 0.02, FEWEST_PIXELS = 800, MARK = "213, 94, 0";
const study = JSON.parse(document.getElementById("study").textContent);
const known = new Map(study.images.map((image) => [image.id, image]));
const element = (id) => document.getElementById(id);
const canvas = element("marks");

const state = {
  annotator: "", order: [], place: 0, answers: new Map(), past: [],
  tool: "rectangle", drawing: null, placing: null, kept: true,
};

// Each annotator sees the images in an order that depends on the study's seed and the name.
function shuffled(ids, key) {
  let hash = 2166136261;
  for (const character of key) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  const random = () => { // mulberry32
    hash = (hash + 0x6d2b79f5) | 0;
    let mixed = Math.imul(hash ^ (hash >>> 15), 1 | hash);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const order = [...ids];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

function begin(annotator, answers) {
  state.annotator = annotator;
  state.order = shuffled([...known.keys()], `${study.seed}:${annotator}`);
  state.answers = new Map(state.order.map((id) => [id, { label: null, cues: [] }]));
  for (const answer of answers) {
    state.answers.set(answer.image, { label: answer.label, cues: answer.cues });
  }
  state.place = Math.max(0, state.order.findIndex((id) => state.answers.get(id).label === null));
  element("consent").hidden = true;
  element("work").hidden = false;
  element("marks").focus();
  show();
}

function current() { return state.answers.get(state.order[state.place]); }

function asFile() {
  return {
    format: FORMAT, version: VERSION, study: study.id, annotator: state.annotator,
    consent: true, consent_sha256: study.consent_sha256,
    answers: state.order.map((id) => ({ image: id, ...state.answers.get(id) })),
  };
}

// Answers of a saved file or of the browser's storage; throws what is wrong with them.
function answersOf(file) {
  if (!file || file.format !== FORMAT || file.version !== VERSION) {
    throw new Error("This is not a file that this page saved.");
  }
  if (file.study !== study.id || file.consent_sha256 !== study.consent_sha256) {
    throw new Error("This file is of another study.");
  }
  if (!file.answers.every((answer) => known.has(answer.image))) {
    throw new Error("This file has answers to other pictures.");
  }
  return file.answers;
}

function storageKey(annotator) { return `ier_ray study ${study.id} ${annotator}`; }

function keep() {
  try {
    localStorage.setItem(storageKey(state.annotator), JSON.stringify(asFile()));
    state.kept = true;
  } catch {
    state.kept = false; // storage is not allowed or full
  }
}

function keptAnswers(annotator) {
  try {
    return answersOf(JSON.parse(localStorage.getItem(storageKey(annotator))));
  } catch {
    return []; // nothing was kept
  }
}

function change(edit) {
  state.past.push({ place: state.place, before: JSON.stringify(current()) });
  edit(current());
  keep();
  show();
}

function undo() {
  const last = state.past.pop();
  if (!last) return say("There is nothing to undo.");
  state.place = last.place;
  state.answers.set(state.order[state.place], JSON.parse(last.before));
  state.placing = null;
  keep();
  show();
}

function choose(label) { change((answer) => { answer.label = label; }); }

function go(place) {
  if (place < 0 || place >= state.order.length) return;
  state.place = place;
  state.placing = state.drawing = null;
  show();
}

function goToUnanswered() {
  const count = state.order.length;
  for (let step = 1; step <= count; step++) {
    const place = (state.place + step) % count;
    if (state.answers.get(state.order[place]).label === null) return go(place);
  }
  say("All pictures are answered.");
}

function save() {
  const link = document.createElement("a");
  const url = URL.createObjectURL(
    new Blob([JSON.stringify(asFile(), null, 1)], { type: "application/json" }));
  link.href = url;
  link.download = `answers-${state.annotator.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  const left = unanswered();
  say(left ? `Saved; ${left} pictures are without an answer.` : "Saved. All pictures are answered.");
}

function unanswered() {
  return [...state.answers.values()].filter((answer) => answer.label === null).length;
}

function say(text) { element("status").textContent = text; }

function show() {
  const image = known.get(state.order[state.place]), answer = current();
  const picture = element("picture");
  if (picture.src !== image.src) picture.src = image.src;
  element("frame").style.setProperty("--ratio", image.width / image.height);
  const enlarged = Math.max(1, Math.round(FEWEST_PIXELS / Math.max(image.width, image.height)));
  canvas.width = image.width * enlarged;
  canvas.height = image.height * enlarged;
  const count = state.order.length, left = unanswered();
  element("place").textContent = `Picture ${state.place + 1} of ${count}, ${count - left} answered`;
  element("answered").max = count;
  element("answered").value = count - left;
  for (const button of element("classes").children) {
    button.setAttribute("aria-pressed", String(button.dataset.label === answer.label));
  }
  element("rectangle").setAttribute("aria-pressed", String(state.tool === "rectangle"));
  element("brush").setAttribute("aria-pressed", String(state.tool === "brush"));
  element("previous").disabled = state.place === 0;
  element("next").disabled = state.place === count - 1;
  element("undo").disabled = state.past.length === 0;
  element("clear").disabled = answer.cues.length === 0;
  if (state.placing) {
    say("Arrows move the rectangle, Shift with arrows changes its size; Enter keeps it.");
  } else if (!state.kept) {
    say("This browser keeps no answers: save them to a file before you close the page.");
  } else {
    say(left ? "" : "All pictures are answered. Save the file and hand it in.");
  }
  draw();
}

function draw() {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const cue of [...current().cues, state.drawing, state.placing]) if (cue) drawCue(context, cue);
}

function drawCue(context, cue) {
  const { width, height } = canvas;
  if (cue.kind === "rectangle") {
    const box = [cue.x * width, cue.y * height, cue.width * width, cue.height * height];
    context.fillStyle = `rgba(${MARK}, 0.25)`;
    context.fillRect(...box);
    for (const [color, line] of [["#fff", 4], [`rgb(${MARK})`, 2]]) {
      context.strokeStyle = color;
      context.lineWidth = line * width / canvas.clientWidth;
      context.strokeRect(...box);
    }
    return;
  }
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  cue.points.forEach(([x, y], index) => {
    if (index === 0) context.moveTo(x * width, y * height);
    context.lineTo(x * width, y * height);
  });
  const edge = 4 * width / canvas.clientWidth; // seen on pictures of any color
  for (const [color, line] of [["rgba(255, 255, 255, 0.5)", edge], [`rgba(${MARK}, 0.5)`, 0]]) {
    context.strokeStyle = color;
    context.lineWidth = 2 * cue.radius * width + line;
    context.stroke();
  }
}

function rounded(share) { return Math.round(share * 1e4) / 1e4; }

function position(event) {
  const box = canvas.getBoundingClientRect();
  const clamp = (share) => rounded(Math.min(1, Math.max(0, share)));
  return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
}

let pointer = null, corner = null;

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  corner = position(event);
  state.placing = null;
  state.drawing = state.tool === "brush"
    ? { kind: "stroke", radius: Number(element("radius").value), points: [corner] }
    : { kind: "rectangle", x: corner[0], y: corner[1], width: 0, height: 0 };
  draw();
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer || !state.drawing) return;
  const [x, y] = position(event);
  if (state.drawing.kind === "stroke") {
    state.drawing.points.push([x, y]);
  } else {
    Object.assign(state.drawing, {
      x: Math.min(x, corner[0]), y: Math.min(y, corner[1]),
      width: rounded(Math.abs(x - corner[0])), height: rounded(Math.abs(y - corner[1])),
    });
  }
  draw();
});

canvas.addEventListener("pointerup", (event) => {
  if (event.pointerId !== pointer) return;
  const cue = state.drawing;
  pointer = state.drawing = null;
  if (!cue) return;
  const large = cue.kind === "stroke" || (cue.width >= SMALLEST && cue.height >= SMALLEST);
  if (large) change((answer) => answer.cues.push(cue));
  else draw();
});

canvas.addEventListener("pointercancel", () => {
  pointer = state.drawing = null;
  draw();
});

// A rectangle is placed with the keyboard.
function adjust(key, resize) {
  const box = state.placing;
  const across = { ArrowLeft: -STEP, ArrowRight: STEP }[key] || 0;
  const down = { ArrowUp: -STEP, ArrowDown: STEP }[key] || 0;
  const within = (value, low, high) => rounded(Math.min(high, Math.max(low, value)));
  if (resize) {
    box.width = within(box.width + across, STEP, 1 - box.x);
    box.height = within(box.height + down, STEP, 1 - box.y);
  } else {
    box.x = within(box.x + across, 0, 1 - box.width);
    box.y = within(box.y + down, 0, 1 - box.height);
  }
  draw();
}

function keepPlaced() {
  const cue = state.placing;
  state.placing = null;
  change((answer) => answer.cues.push(cue));
}

function place() {
  state.placing = { kind: "rectangle", x: 0.35, y: 0.35, width: 0.3, height: 0.3 };
  show();
}

const keys = {
  ArrowRight: () => go(state.place + 1), ArrowLeft: () => go(state.place - 1),
  r: place, u: undo, n: goToUnanswered, s: save,
};

function placed(event) {
  if (event.key.startsWith("Arrow")) adjust(event.key, event.shiftKey);
  else if (event.key === "Enter") keepPlaced();
  else if (event.key === "Escape") { state.placing = null; show(); }
  else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  if (element("work").hidden || event.altKey || event.metaKey || event.target.tagName === "INPUT") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey) {
    if (key !== "z") return;
    undo();
  } else if (state.placing && placed(event)) {
    // The rectangle has taken the key.
  } else if (/^[0-9]$/.test(key)) {
    const label = study.classes[(Number(key) + 9) % 10];
    if (label !== undefined) choose(label);
  } else if (keys[key] && !event.shiftKey) {
    keys[key]();
  } else return;
  event.preventDefault();
});

study.classes.forEach((label, index) => {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.label = label;
  if (index < 10) {
    const key = document.createElement("kbd");
    key.textContent = String((index + 1) % 10);
    button.append(key);
  }
  button.append(label);
  button.addEventListener("click", () => choose(label));
  element("classes").append(button);
});

const clicks = {
  rectangle: () => { state.tool = "rectangle"; show(); },
  brush: () => { state.tool = "brush"; show(); },
  undo, clear: () => change((answer) => { answer.cues = []; }),
  previous: () => go(state.place - 1), next: () => go(state.place + 1),
  unanswered: goToUnanswered, save,
};
for (const [id, action] of Object.entries(clicks)) element(id).addEventListener("click", action);

element("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const annotator = element("annotator").value.trim();
  if (annotator) begin(annotator, keptAnswers(annotator));
});

element("saved").addEventListener("change", async (event) => {
  element("refusal").textContent = "";
  try {
    if (!element("agree").checked) throw new Error("Please agree to take part first.");
    const file = JSON.parse(await event.target.files[0].text());
    const answers = answersOf(file);
    begin(file.annotator, answers);
  } catch (error) {
    element("refusal").textContent =
      error instanceof SyntaxError ? "This is not a file that this page saved." : error.message;
  }
  event.target.value = "";
});

window.addEventListener("beforeunload", (event) => { if (!state.kept) event.preventDefault(); });
window.addEventListener("resize", () => { if (!element("work").hidden) draw(); });
