// One explanation after another, as far as the choices need them; finished ones are kept with their picture.

import { explain, pixelsOf, predict } from "./service.js";

const OWN = { variant: "normalized", score: "probability", baseline: "blur", trees: 1, first_axis: "x", tolerance: 0 };

/** The query of an explanation. Kinds differ in what they set; depth and contexts are chosen. */
export function queryOf({ kind, depth, contexts }, target) {
  return { ...(kind === "sharp" ? { preset: "sharp" } : OWN), depth, contexts, target };
}

export const keyOf = (choices, target) => JSON.stringify(queryOf(choices, target));

/** The classes that are shown: the chosen or else the predicted one, and the other side. */
export function targetsOf({ picture, target, compare }) {
  return [target ?? picture?.label, compare].filter(Boolean);
}

/**
 * The map of a class as far as it has come: {frames, pixels, whole, seconds}; undefined before it was
 * begun. `pixels` has the credit of each pixel of a sharp map, where the service tells.
 */
export const mapOf = (choices, target) => choices.picture.maps.get(keyOf(choices, target));

/** About how many replies an explanation comes in: one for each level, and one for each further tree. */
export const expectedFrames = ({ kind, depth }) => depth + (kind === "sharp" ? 8 : 1);

/**
 * Computes what choices need. `learn` gives the networks; `changed` is called whenever there is more
 * to show, `failed` with an error.
 */
export class Explaining {
  #abort = null;
  #asked = "";

  constructor({ learn, changed, failed }) {
    Object.assign(this, { learn, changed, failed });
  }

  get runs() { return this.#abort !== null; }

  /** Compute what is missing, instead of what ran before. What was cancelled starts only `again`. */
  async follow(choices, { again = false } = {}) {
    const asked = JSON.stringify([choices.picture?.address, choices.target, choices.compare, keyOf(choices)]);
    if (asked === this.#asked && !again) return;
    this.cancel();
    this.#asked = asked;
    if (!choices.picture || isWhole(choices)) return;
    const abort = this.#abort = new AbortController();
    this.changed();
    try {
      await this.#recognize(choices.picture, abort.signal);
      for (const target of targetsOf(choices)) await this.#grow(choices, target, abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    } finally {
      if (this.#abort === abort) this.#abort = null;
      this.changed();
    }
  }

  /** End what runs, in the service, too. */
  cancel() {
    this.#abort?.abort();
    this.#abort = null;
  }

  async #recognize(picture, signal) {
    const networks = await this.learn();
    picture.classes = networks.ier.classes;
    const served = Object.keys(networks).filter(name => networks[name] && !picture.said[name]);
    await Promise.all(served.map(async name => {
      const { label, probabilities } = await predict(name, picture.blob, signal);
      picture.said[name] = probabilities;
      if (name === "ier") picture.label = label;
      this.changed();
    }));
  }

  async #grow(choices, target, signal) {
    const { picture } = choices;
    if (mapOf(choices, target)?.whole) return;
    const map = { frames: [], pixels: null, whole: false, seconds: 0 };
    picture.maps.set(keyOf(choices, target), map);
    const began = performance.now(), query = queryOf(choices, target);
    for await (const reply of explain(picture.blob, query, signal)) {
      signal.throwIfAborted();
      map.frames.push(reply);
      map.seconds = (performance.now() - began) / 1000;
      this.changed();
    }
    if (choices.kind === "sharp") map.pixels = await pixelsOf(picture.blob, query, picture.classes.indexOf(target), signal);
    map.whole = true;
  }
}

/** Whether nothing is left to compute. */
export function isWhole(choices) {
  const targets = targetsOf(choices);
  return targets.length > 0 && targets.every(target => mapOf(choices, target)?.whole);
}
