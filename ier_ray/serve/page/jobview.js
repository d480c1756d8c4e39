// What the page shows of a shared job: its state, which image, and what was asked for.

import { showMaps, showReading, showScale } from "./views.js";
import { ENDED } from "./watching.js";
import { capital, plural } from "./words.js";

const find = selector => document.querySelector(selector);
const CONTEXTS = { both: "shown and hidden", absent: "hidden", present: "shown" };
const EMPTY = { address: "", name: "shared", size: null };

/** Show what is known of a job, or that none is looked at. `map` is that of its image, or null; `inspect` as for other maps. */
export function showJob(found, map, inspect) {
  const { job, place, gone } = found ?? {};
  find("#gone").hidden = !gone;
  find("#waiting").hidden = !found || Boolean(gone || job);
  if (!found) return;
  find("#work").hidden = Boolean(gone) || !job;
  if (gone) {
    find("#gone-why").textContent = gone.kind === "no_jobs"
      ? "This service keeps no shared maps."
      : "The link is incomplete, the map was deleted or its days here are over, or it belongs to another token.";
  }
  if (gone || !job) return;
  const image = job.images[place], several = job.images.length > 1;
  find("#subject").textContent = several ? `Shared map, image ${place + 1} of ${job.images.length}` : "Shared map";
  find("#none-yet").hidden = Boolean(map);
  find("#none-yet").textContent = ENDED.includes(image.state) ? "There is no map of this image." : "The map comes with the first level.";
  showMaps([map ?? { picture: EMPTY, target: null, reply: null }], inspect);
  find("#maps").hidden = !map;
  showReading([map ?? { reply: null }]);
  showScale(map ? [map] : []);
  showCourse(job, image, map);
  showFacts(job, map);
  find("#turn").hidden = !several;
  find("#place").textContent = `Image ${place + 1} of ${job.images.length}`;
  find("#previous").disabled = place === 0;
  find("#next").disabled = place === job.images.length - 1;
}

function showCourse(job, image, map) {
  const ended = ENDED.includes(job.state);
  const progress = find("#progress");
  progress.value = ((image.level ?? -1) + 1) / (job.settings.depth + 1);
  progress.classList.toggle("idle", ended);
  find("#stop").hidden = ended;
  for (const id of ["#job-png", "#job-json"]) find(id).disabled = !map;
  const text = stateOf(job, image, map);
  if (find("#state").textContent !== text) find("#state").textContent = text;
}

/** The state of an image of a job in words. */
function stateOf(job, image, map) {
  const state = ENDED.includes(job.state) && !ENDED.includes(image.state) ? job.state : image.state;
  if (state === "waiting") return "Waiting: the service has not begun with it.";
  if (state === "failed") {
    const why = image.error?.detail ?? "The service could not go on with it";
    return `Failed. ${capital(why)}${why.endsWith(".") ? "" : "."}`;
  }
  const regions = map ? plural(map.reply.leaves.length, "region") : "no level is finished";
  if (state === "finished") return map ? `Finished: ${regions}, ${plural(map.reply.evaluations, "masked picture")}.` : "Finished.";
  const level = map ? `, level ${map.reply.levels.at(-1).level} of ${job.settings.depth}` : "";
  return `${capital(state)}: ${regions}${level}.`;
}

function showFacts({ settings, target, created }, map) {
  const facts = {
    Emotion: capital(target ?? map?.reply.target ?? "the predicted one"),
    Map: settings.preset === "sharp" ? "Sharp" : "Shapley",
    Depth: plural(2 ** settings.depth, "region"),
    Surroundings: CONTEXTS[settings.contexts] ?? settings.contexts,
    Submitted: new Date(created).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }),
  };
  find("#facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: value }),
  ]));
}
