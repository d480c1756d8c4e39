// A job of the service, followed by asking again and again: soon while it changes, rarely while it waits.

import { jobOf, resultOf } from "./jobs.js";

const WAIT_MS = { least: 500, most: 10_000, growth: 1.5 };
const NOT_FOUND = 404;
const PASSING = [0, 429, 500, 502, 503, 504]; // of failures that may be over soon
const IDS = /^[0-9a-f]{32}$/;
export const ENDED = ["finished", "failed", "cancelled"];

/**
 * Follows one job at a time. `found` is {id, job, place, result, gone}: the job, which of its images is
 * shown, and what is finished of that one; null when no job is followed. `changed` is called whenever
 * there is more to show, `failed` with an error, `works` when requests succeed after one
 * that failed.
 */
export class Watching {
  #abort = null;
  #shown = "";
  #failing = false;

  constructor(calls) {
    Object.assign(this, { found: null, ...calls });
    document.addEventListener("visibilitychange", () => this.resume());
  }

  /** Follow a job, or none. */
  follow(id) {
    if (id === (this.found?.id ?? null)) return;
    this.#pause();
    release(this.found?.result);
    this.found = id && { id, job: null, place: 0, result: null, gone: IDS.test(id) ? null : {} };
    this.#shown = "";
    this.#failing = false;
    this.resume();
  }

  /** Show another image of the job. */
  turn(by) {
    const { found } = this;
    const place = found.place + by;
    if (!found.job?.images[place]) return;
    this.#pause();
    this.#shown = "";
    release(found.result);
    Object.assign(found, { place, result: null });
    this.changed();
    this.#run();
  }

  /** Take what a request said of the job, and go on. */
  take(job) {
    this.found.job = job;
    this.changed();
    this.#pause();
    this.#run();
  }

  /** Go on asking, if there is anything to ask for. A hidden page asks nothing. */
  resume() {
    this.#pause();
    if (!document.hidden && this.found && !this.found.gone && !this.#isDone()) this.#run();
  }

  #pause() {
    this.#abort?.abort();
    this.#abort = null;
  }

  #isDone() {
    const { job, place } = this.found;
    return job && ENDED.includes(job.state) && this.#shown === shownOf(job.images[place]);
  }

  async #run() {
    const { signal } = (this.#abort = new AbortController());
    let wait = WAIT_MS.least;
    while (!signal.aborted) {
      try {
        wait = await this.#ask(signal) ? WAIT_MS.least : wait * WAIT_MS.growth;
        if (signal.aborted || this.#isDone()) return;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === NOT_FOUND) {
          this.found.gone = error;
          this.changed();
          return;
        }
        this.#failing = true;
        this.failed(error);
        if (!PASSING.includes(error.status)) return;
        wait *= WAIT_MS.growth;
      }
      wait = Math.min(WAIT_MS.most, wait);
      await new Promise(done => setTimeout(done, wait));
    }
  }

  /** Ask once; whether there was anything new. */
  async #ask(signal) {
    const { found } = this;
    const before = JSON.stringify(found.job);
    const job = await jobOf(found.id, signal);
    const image = job.images[found.place], shown = shownOf(image);
    let { result } = found;
    if (image.explanation && shown !== this.#shown) {
      result = await shownResult(await resultOf(found.id, found.place, signal), found);
      signal.throwIfAborted();
      release(found.result);
    }
    signal.throwIfAborted();
    this.#shown = shown;
    if (this.#failing) this.works();
    this.#failing = false;
    if (JSON.stringify(job) === before && result === found.result) return false;
    Object.assign(found, { job, result });
    this.changed();
    return true;
  }
}

/** What tells whether there is more of an image than is shown. */
const shownOf = ({ state, level, rows, explanation }) => JSON.stringify([state, level, rows, explanation]);

function release(result) {
  if (result) URL.revokeObjectURL(result.picture.address);
}

/** A result with its heat map as a picture: all that the service gives away of the picture itself. */
async function shownResult({ reply, heat, pixels }, { id, place }) {
  const bitmap = await createImageBitmap(heat);
  const size = { width: bitmap.width, height: bitmap.height };
  bitmap.close();
  const name = `job-${id.slice(0, 8)}-${place + 1}`;
  return { reply, pixels, picture: { blob: heat, name, size, address: URL.createObjectURL(heat) } };
}
