// The page: what is chosen, what is computed of it, and what is shown.

import * as controls from "./controls.js";
import { paintBar } from "./colors.js";
import { saveJson, savePng } from "./downloads.js";
import { Explaining, expectedFrames, isWhole, mapOf, targetsOf } from "./explaining.js";
import { History } from "./history.js";
import { takePictures } from "./intake.js";
import { MapFigure } from "./map.js";
import { density, regionAt, saturation } from "./regions.js";
import { model } from "./service.js";
import { plural, reading, signed, unitOf } from "./words.js";

const find = selector => document.querySelector(selector);
const networks = { ier: null, fer: null };
const figures = [];
const limits = new WeakMap(); // of replies
const view = { level: null, place: null, trouble: null, preview: {} };

const history = new History(
  { picture: null, target: null, compare: null, ...controls.BEGIN.shapley, opacity: 0.85, outlines: false },
  choices => {
    Object.assign(view, { level: null, trouble: null, preview: {} });
    explaining.follow(choices);
    render();
  },
);
const explaining = new Explaining(networks, () => render(), fail);

/** What each figure shows. Both sides of a comparison have one scale. */
function shownMaps() {
  const choices = { ...history.now, ...view.preview };
  if (!choices.picture) return [];
  const targets = targetsOf(history.now);
  const maps = (targets.length ? targets : [null]).map(target => {
    const frames = (target && mapOf(history.now, target)?.frames) || [];
    const reply = frames[Math.min(view.level ?? Infinity, frames.length - 1)] ?? null;
    const said = choices.picture.said.ier?.[target];
    return { ...choices, target, frames, reply, said };
  });
  const limit = Math.max(0, ...maps.map(map => (map.reply ? limitOf(map.reply) : 0)));
  return maps.map(map => ({ ...map, limit, inspected: inspectedIn(map.reply) }));
}

function limitOf(reply) {
  if (!limits.has(reply)) limits.set(reply, saturation(density(reply.leaves, reply.image_size)));
  return limits.get(reply);
}

function inspectedIn(reply) {
  if (!reply || !view.place) return null;
  return regionAt(reply.leaves, reply.image_size, view.place.x, view.place.y);
}

function render() {
  const choices = history.now, maps = shownMaps();
  find("#start").hidden = Boolean(choices.picture);
  find("#work").hidden = !choices.picture;
  find("#steps").hidden = !choices.picture && !history.canUndo && !history.canRedo;
  find("#another").hidden = !choices.picture;
  find("#undo").disabled = !history.canUndo;
  find("#redo").disabled = !history.canRedo;
  renderTrouble();
  if (!choices.picture) return;
  renderMaps(maps);
  renderReading(maps);
  renderScale(maps);
  renderProgress(maps);
  controls.show({
    choices: { ...choices, ...view.preview, target: targetsOf(choices)[0] },
    classes: networks.ier?.classes ?? [],
    said: choices.picture.said,
  });
}

function renderTrouble() {
  find("#trouble").hidden = !view.trouble;
  find("#trouble-title").textContent = view.trouble?.title ?? "";
  find("#trouble-detail").textContent = view.trouble?.detail ?? "";
}

function renderMaps(maps) {
  while (figures.length < maps.length) figures.push(new MapFigure(inspect));
  const shown = figures.slice(0, maps.length).map(figure => figure.element);
  const place = find("#maps");
  if (place.children.length !== shown.length) place.replaceChildren(...shown);
  place.classList.toggle("two", maps.length === 2);
  maps.forEach((map, index) => figures[index].show(map));
}

function renderReading(maps) {
  const found = maps.filter(map => map.reply && map.inspected >= 0 && map.inspected !== null);
  const place = find("#reading");
  const words = found.length ? reading(found.map(map => [map.reply, map.inspected])) : null;
  const hint = maps[0].reply ? "Point at the map, or go through it with the arrow keys." : "";
  const text = words ? `${words.value}\n${words.place}` : hint;
  if (place.dataset.text === text) return; // nothing new to announce
  place.dataset.text = text;
  const value = Object.assign(document.createElement("b"), { textContent: words?.value ?? "" });
  const rest = Object.assign(document.createElement("span"), { textContent: words?.place ?? hint });
  place.replaceChildren(...(words ? [value, " "] : []), rest);
}

function renderScale(maps) {
  const reply = maps.find(map => map.reply)?.reply;
  find(".scale").classList.toggle("empty", !reply);
  if (reply) for (const [id, text] of Object.entries(scaleOf(reply, maps[0].limit))) find(`#${id}`).textContent = text;
}

/** The words beside the color bar: credit per percent of the picture's area. */
function scaleOf(reply, limit) {
  const unit = unitOf(reply);
  const end = limit * reply.image_size ** 2 / 100 * unit.factor;
  return {
    least: `${signed(-end)} against`, most: `for ${signed(end)}`,
    unit: `Credit per 1 % of the picture, in ${unit.long}`,
  };
}

function renderProgress(maps) {
  const frames = Math.max(...maps.map(map => map.frames.length));
  const level = find("#level");
  level.max = Math.max(0, frames - 1);
  level.value = view.level ?? frames - 1;
  level.disabled = frames < 2;
  const leaves = maps[0].reply?.leaves.length;
  find("#level-text").textContent = leaves ? plural(leaves, "region") : "";
  level.setAttribute("aria-valuetext", leaves ? plural(leaves, "region") : "none yet");
  const done = maps.reduce((sum, map) => sum + map.frames.length, 0) / (maps.length * expectedFrames(history.now));
  find("#progress").value = Math.min(1, done);
  find("#progress").classList.toggle("idle", !explaining.runs);
  find("#cancel").hidden = !explaining.runs;
  find("#resume").hidden = explaining.runs || Boolean(view.trouble) || isWhole(history.now);
  for (const id of ["#png", "#json"]) find(id).disabled = !maps.every(map => map.reply);
  const state = stateOf(maps);
  if (find("#state").textContent !== state) find("#state").textContent = state;
}

function stateOf(maps) {
  if (view.trouble) return "";
  if (explaining.runs) return "Explaining …";
  if (!isWhole(history.now)) return "Cancelled. The finished levels stay.";
  const { frames } = maps[0], last = frames.at(-1);
  const seconds = maps.reduce((sum, map) => sum + mapOf(history.now, map.target).seconds, 0);
  const early = last.complete ? "" : " The time allowed was over before the last level.";
  return `Finished: ${plural(last.leaves.length, "region")}, ${plural(last.evaluations, "masked picture")}, ${seconds.toFixed(1)} s.${early}`;
}

/** Look at the region of a reply, or at none. */
function inspect(region, reply) {
  const side = reply?.image_size;
  view.place = region && { x: (region.left + region.right) / 2 / side, y: (region.top + region.bottom) / 2 / side };
  render();
}

function fail(error) {
  view.trouble = { title: error.title ?? "Something went wrong in this page.", detail: error.detail ?? error.message };
  render();
}

async function learnNetworks() {
  view.trouble = null;
  try {
    [networks.ier, networks.fer] = await Promise.all([model("ier"), model("fer")]);
  } catch (error) {
    fail(error);
    return;
  }
  const { classes, architecture, epoch, weights_sha256: weights } = networks.ier;
  find("#model").textContent = `tells apart ${classes.slice(0, -1).join(", ")} and ${classes.at(-1)}`;
  find("#weights").textContent = `Network ${architecture}, epoch ${epoch}, weights ${weights.slice(0, 10)}`;
  render();
}

function choose(some) {
  const [target] = targetsOf(history.now);
  // The two sides change places when the other one is chosen.
  if (some.target && some.target === history.now.compare) some = { ...some, compare: target };
  history.choose(some);
}

function take(picture) {
  history.choose({ picture, target: null, compare: null });
  figures[0].frame.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function retry() {
  view.trouble = null;
  if (!networks.ier) learnNetworks();
  explaining.follow(history.now, { again: true });
  render();
}

function cancel() {
  explaining.cancel();
  render();
}

takePictures({ taken: take, failed: fail });
controls.listen({
  choose,
  preview: some => {
    view.preview = some;
    render();
  },
});
const clicks = {
  undo: () => history.undo(),
  redo: () => history.redo(),
  another: () => {
    history.choose({ picture: null, target: null, compare: null });
    find("#file").focus();
  },
  cancel,
  resume: retry,
  retry,
  dismiss: () => {
    view.trouble = null;
    render();
  },
  json: () => saveJson(shownMaps()),
  png: () => {
    const maps = shownMaps();
    const { least, most, unit } = scaleOf(maps[0].reply, maps[0].limit);
    savePng(maps, { ends: { least, most }, unit }).catch(fail);
  },
};
for (const [id, act] of Object.entries(clicks)) find(`#${id}`).addEventListener("click", act);
find("#level").addEventListener("input", ({ target }) => {
  view.level = target.value === target.max ? null : Number(target.value);
  render();
});
addEventListener("keydown", event => {
  if (event.key === "Escape" && explaining.runs) cancel();
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  const act = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
  if (!act) return;
  event.preventDefault();
  history[act]();
});
paintBar(find("#bar").getContext("2d"), 0, 0, 512, 1);
learnNetworks();
