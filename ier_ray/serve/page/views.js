// What the page shows beside the form: messages, maps, the inspected region, the scale, the progress.

import { expectedFrames, isWhole } from "./explaining.js";
import { MapFigure } from "./map.js";
import { capital, plural, reading, scale } from "./words.js";

const find = selector => document.querySelector(selector);
const figures = [];

/** Which part of the page is visible, and what can be done there. */
export function showPlace({ picture, job }, history) {
  const begun = Boolean(picture || job);
  find("#start").hidden = begun;
  find("#work").hidden = !begun;
  find("#work").classList.toggle("job", Boolean(job));
  find("#steps").hidden = !begun && !history.canUndo && !history.canRedo;
  find("#another").hidden = !begun;
  find("#undo").disabled = !history.canUndo;
  find("#redo").disabled = !history.canRedo;
}

/** A message of what went wrong, or none. */
export function showTrouble(trouble) {
  find("#trouble").hidden = !trouble;
  find("#trouble-title").textContent = trouble?.title ?? "";
  find("#trouble-detail").textContent = capital(trouble?.detail ?? "");
  find("#access").hidden = !trouble?.token;
  find("#retry").hidden = !trouble?.again;
}

/** The networks that the service has. */
export function showNetworks({ classes, architecture, epoch, weights_sha256: weights }) {
  find("#model").textContent = `tells apart ${classes.slice(0, -1).join(", ")} and ${classes.at(-1)}`;
  find("#weights").textContent = `Network ${architecture}, epoch ${epoch}, weights ${weights.slice(0, 10)}`;
}

/** One figure for each map; `inspect` is called with the region that somebody looks at. */
export function showMaps(maps, inspect) {
  while (figures.length < maps.length) figures.push(new MapFigure(inspect));
  const shown = figures.slice(0, maps.length).map(figure => figure.element);
  const place = find("#maps");
  if (place.children.length !== shown.length) place.replaceChildren(...shown);
  place.classList.toggle("two", maps.length === 2);
  const { name, size } = maps[0].picture;
  place.hidden = false;
  place.closest(".stage").style.setProperty("--ratio", size ? size.width / size.height : 1);
  find("#subject").textContent = `Emotion map of ${name}`;
  maps.forEach((map, index) => figures[index].show(map));
}

/** Go to the first map. */
export function focusMap() {
  figures[0]?.frame.focus({ preventScroll: true });
}

/** The inspected region in words, or how to inspect one. */
export function showReading(maps) {
  const found = maps.filter(map => map.inspected != null && map.inspected >= 0);
  const words = found.length ? reading(found.map(map => [map.reply, map.inspected])) : null;
  const hint = maps[0].reply ? "Point at the map, or go through it with the arrow keys." : "";
  const place = find("#reading");
  const text = words ? `${words.value}\n${words.place}` : hint;
  if (place.dataset.text === text) return; // nothing new to announce
  place.dataset.text = text;
  const value = Object.assign(document.createElement("b"), { textContent: words?.value ?? "" });
  place.replaceChildren(...(words ? [value, " "] : []), words?.place ?? hint);
}

/** The words beside the color bar. */
export function showScale(maps) {
  const shown = maps.find(map => map.reply);
  find(".scale").classList.toggle("empty", !shown);
  if (!shown) return;
  for (const [id, text] of Object.entries(scale(shown.reply, shown.limit))) find(`#${id}`).textContent = text;
}

/** How far the explanation is, and which of its levels is shown. */
export function showProgress(maps, { choices, level: chosen, runs, failed }) {
  const frames = Math.max(...maps.map(map => map.frames.length));
  const level = find("#level");
  level.max = Math.max(0, frames - 1);
  level.value = chosen ?? frames - 1;
  level.disabled = frames < 2;
  const leaves = maps[0].reply?.leaves.length;
  find("#level-text").textContent = leaves ? plural(leaves, "region") : "";
  level.setAttribute("aria-valuetext", leaves ? plural(leaves, "region") : "none yet");
  const progress = find("#progress"), bar = maps.reduce((sum, map) => sum + map.frames.length, 0);
  progress.value = Math.min(1, bar / (maps.length * expectedFrames(choices)));
  progress.classList.toggle("idle", !runs);
  const whole = isWhole(choices);
  find("#cancel").hidden = !runs;
  find("#share").disabled = !maps[0].target;
  find("#resume").hidden = runs || whole || failed;
  for (const id of ["#png", "#json"]) find(id).disabled = !maps.every(map => map.reply);
  const state = stateOf(maps, { whole, runs, failed });
  if (find("#state").textContent !== state) find("#state").textContent = state;
}

function stateOf(maps, { whole, runs, failed }) {
  if (failed) return "";
  if (runs) return "Explaining …";
  if (!whole) return "Cancelled. The finished levels stay.";
  const { frames } = maps[0], last = frames.at(-1);
  const seconds = maps.reduce((sum, map) => sum + map.seconds, 0);
  const early = last.complete ? "" : " The time allowed was over before the last level.";
  return `Finished: ${plural(last.leaves.length, "region")}, ${plural(last.evaluations, "masked picture")}, ${seconds.toFixed(1)}\u00a0s.${early}`;
}
