// The page: what is chosen, what is computed of it, and what is shown.

import * as controls from "./controls.js";
import { paintBar } from "./colors.js";
import { saveJson, savePng } from "./downloads.js";
import { Explaining, mapOf, targetsOf } from "./explaining.js";
import { History } from "./history.js";
import { takePictures } from "./intake.js";
import { haveJobs, remove, stop } from "./jobs.js";
import { showJob } from "./jobview.js";
import { closeDialogs, pageHasKeys } from "./modal.js";
import { density, regionAt, saturation } from "./regions.js";
import { model, useToken } from "./service.js";
import { Sharing, jobInAddress, showAddress } from "./sharing.js";
import { Troubles } from "./troubles.js";
import * as views from "./views.js";
import { Watching } from "./watching.js";

const UNUSABLE = [400, 413, 415]; // statuses of pictures that the service does not take
const NONE = { picture: null, target: null, compare: null, job: null };
const BEGIN = { ...NONE, job: jobInAddress(), ...controls.BEGIN.shapley, opacity: 0.85, outlines: false };

const find = selector => document.querySelector(selector);
const NOTHING = { frames: [], pixels: null, seconds: 0 };
const limits = new WeakMap(); // of replies, or of their pixels
const troubles = new Troubles(render);
const view = { level: null, place: null, preview: {} };
let networks = null; // a promise, once they were asked for

const history = new History(BEGIN, choices => {
  Object.assign(view, { level: null, preview: {} });
  troubles.clear();
  closeDialogs();
  explaining.follow(choices);
  watching.follow(choices.job);
  render();
});
const explaining = new Explaining({ learn, changed: render, failed: failExplaining });
const watching = new Watching({
  changed: render,
  failed: error => troubles.add("job", error, () => watching.resume()),
  works: () => troubles.end("job"),
});
const sharing = new Sharing({ shared: render });

/** The networks that the service has, by name; asked for once, or again if that failed. */
function learn() {
  networks ??= Promise.all([model("ier"), model("fer"), haveJobs()]).then(([ier, fer, jobs]) => {
    views.showNetworks(ier);
    find("#share").hidden = !jobs;
    return { ier, fer };
  });
  networks.then(() => troubles.end("networks"), () => { networks = null; });
  return networks;
}

/** What each figure shows. Both sides of a comparison have one scale. */
function shownMaps() {
  const { picture } = history.now, targets = targetsOf(history.now);
  const maps = (targets.length ? targets : [null]).map(target => {
    const { frames, pixels, seconds } = (target && mapOf(history.now, target)) || NOTHING;
    const reply = frames[Math.min(view.level ?? Infinity, frames.length - 1)] ?? null;
    const fine = reply === frames.at(-1) ? pixels : null;
    const said = picture.said.ier?.[target];
    return { ...history.now, ...view.preview, target, frames, pixels: fine, seconds, reply, said };
  });
  const limit = Math.max(0, ...maps.map(map => (map.reply ? limitOf(map) : 0)));
  return maps.map(map => ({ ...map, limit, inspected: inspectedIn(map.reply) }));
}

function limitOf({ reply, pixels }) {
  const shown = pixels ?? reply;
  if (!limits.has(shown)) limits.set(shown, saturation(pixels ?? density(reply.leaves, reply.image_size)));
  return limits.get(shown);
}

function inspectedIn(reply) {
  if (!reply || !view.place) return null;
  return regionAt(reply.leaves, reply.image_size, view.place.x, view.place.y);
}

function render() {
  const choices = history.now;
  views.showPlace(choices, history);
  views.showTrouble(troubles.latest);
  showAddress(choices.job ?? sharing.idOf(choices));
  showJob(watching.found, sharedMap(), inspect);
  if (!choices.picture) return;
  const maps = shownMaps();
  views.showMaps(maps, inspect);
  views.showReading(maps);
  views.showScale(maps);
  views.showProgress(maps, { choices, level: view.level, runs: explaining.runs, failed: troubles.has("explanation") });
  controls.show({ ...choices, ...view.preview, target: targetsOf(choices)[0] });
}

/** What the figure of a job shows: the picture has the map in it, and no other one is drawn over it. */
function sharedMap() {
  const result = watching.found?.result;
  if (!result) return null;
  const { reply, pixels, picture } = result, { target } = reply;
  const plain = { opacity: 0, outlines: false, smooth: false };
  const map = { ...plain, reply, pixels, picture, target, said: reply.prediction.probabilities[target] };
  return { ...map, limit: limitOf(map), inspected: inspectedIn(reply) };
}

/** Look at the region of a reply, or at none. */
function inspect(region, reply) {
  const side = reply?.image_size;
  view.place = region && { x: (region.left + region.right) / 2 / side, y: (region.top + region.bottom) / 2 / side };
  render();
}

function failExplaining(error) {
  const { picture } = history.now;
  // A picture that the service does not take is put away again.
  if (UNUSABLE.includes(error.status) && picture && !picture.said.ier) history.forget();
  troubles.add("explanation", error, explainOn);
}

function choose(some) {
  const [target] = targetsOf(history.now);
  // The two sides change places when the other one is chosen.
  if (some.target && some.target === history.now.compare) some = { ...some, compare: target };
  history.choose(some);
}

function take(picture) {
  history.choose({ ...NONE, picture });
  views.focusMap();
  scrollTo(0, 0);
}

/** Compute what is missing, after a failure or where it was cancelled. */
function explainOn() {
  troubles.end("explanation");
  explaining.follow(history.now, { again: true });
}

/** Go on with everything, now that there is a token. */
function enter() {
  troubles.clear();
  troubles.attempt("networks", learn);
  explainOn();
  watching.resume();
  render();
}

function cancel() {
  explaining.cancel();
  render();
}

function another() {
  history.choose(NONE);
  find("#file").focus();
}

async function stopJob(id) {
  const job = await stop(id);
  if (watching.found?.id !== id) return;
  watching.take(job);
  find("#job-link").focus(); // the button that had the focus is gone
}

async function deleteJob(id) {
  await remove(id);
  sharing.forget(id);
  if (watching.found?.id === id) another();
}

/** Attempt something with the job that is shown now, also when it is tried again. */
function attemptWithJob(what, act) {
  const { id } = watching.found;
  troubles.attempt(what, () => act(id));
}

/** Save the maps that are shown now. */
const download = maps => troubles.attempt("download", () => savePng(maps));

const clicks = {
  undo: () => history.undo(),
  redo: () => history.redo(),
  another,
  anew: another,
  cancel,
  resume: explainOn,
  retry: () => troubles.retry(),
  dismiss: () => troubles.dismiss(),
  json: () => saveJson(shownMaps()),
  png: () => download(shownMaps()),
  share: () => sharing.open(history.now),
  previous: () => watching.turn(-1),
  next: () => watching.turn(1),
  stop: () => attemptWithJob("stop", stopJob),
  "job-link": () => sharing.give(watching.found.id),
  "job-json": () => saveJson([sharedMap()]),
  "job-png": () => download([sharedMap()]),
  delete: () => find("#delete-dialog").showModal(),
  "delete-now": () => {
    closeDialogs();
    attemptWithJob("delete", deleteJob);
  },
  "delete-not": closeDialogs,
};
for (const [id, act] of Object.entries(clicks)) find(`#${id}`).addEventListener("click", act);
find("#access").addEventListener("submit", event => {
  event.preventDefault();
  useToken(find("#token").value.trim());
  find("#token").value = "";
  enter();
});
find("#level").addEventListener("input", ({ target }) => {
  view.level = target.value === target.max ? null : Number(target.value);
  render();
});
addEventListener("keydown", event => {
  if (!pageHasKeys()) return;
  if (event.key === "Escape" && explaining.runs) cancel();
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const act = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  history[act]();
});
addEventListener("hashchange", () => {
  const job = jobInAddress();
  if (job || history.now.job) history.choose({ ...NONE, job });
});
takePictures({ taken: take, attempt: (what, act) => troubles.attempt(what, act) });
controls.listen({
  choose,
  preview: some => {
    view.preview = some;
    render();
  },
});
paintBar(find("#bar").getContext("2d"), 0, 0, 512, 1);
troubles.attempt("networks", learn);
watching.follow(history.now.job);
render();
