// The figure of one class: the picture, its map, and the keys and pointers that inspect regions.

import { compose, raster } from "./painting.js";
import { neighbor, regionAt, strongest } from "./regions.js";
import { capital, percent, sum } from "./words.js";

const FADE_MS = 220;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class MapFigure {
  #shown = null;
  #colors = null;
  #before = null;
  #began = 0;

  #pointed = false;

  /** `inspect` is called with a region and the reply that it is of, or with null. */
  constructor(inspect) {
    this.element = document.querySelector("#map").content.firstElementChild.cloneNode(true);
    const find = selector => this.element.querySelector(selector);
    [this.frame, this.image, this.canvas] = [find(".frame"), find("img"), find("canvas")];
    [this.name, this.said, this.sum, this.unseen] = [find(".name"), find(".said"), find(".sum"), find(".unseen")];
    this.inspect = inspect;
    this.frame.addEventListener("keydown", event => this.#key(event));
    this.frame.addEventListener("pointermove", event => this.#point(event));
    this.frame.addEventListener("pointerdown", event => this.#point(event));
    this.frame.addEventListener("pointerleave", event => {
      if (event.pointerType === "mouse" && this.#pointed) inspect(null);
    });
    this.frame.addEventListener("blur", () => inspect(null));
    this.image.addEventListener("load", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.frame);
  }

  /**
   * Show a picture and, once there is one, a map.
   * `what`: {picture, target, said, reply, pixels, limit, opacity, outlines, smooth, inspected}.
   */
  show(what) {
    const before = this.#shown;
    this.#shown = what;
    const { picture, target, reply } = what;
    if (before?.picture !== picture) {
      this.image.src = picture.address;
      this.image.alt = `The picture ${picture.name}`;
      this.image.hidden = !picture.size;
      this.unseen.hidden = Boolean(picture.size);
    }
    this.name.textContent = capital(target ?? "");
    this.said.textContent = what.said == null ? "" : percent(what.said);
    this.sum.textContent = reply ? sum(reply) : "";
    this.frame.setAttribute("aria-label", target
      ? `Credits for ${target}. Arrow keys go from region to region, Home and End to the strongest for and against it.`
      : "The picture");
    const colorsChanged = ["reply", "pixels", "limit", "smooth"].some(name => before?.[name] !== what[name]);
    if (colorsChanged) this.#change(before, reply && raster(what));
    this.#draw();
  }

  /** New colors come in softly, if the old ones belong to the same picture. */
  #change(before, colors) {
    const soft = !still.matches && before?.picture === this.#shown.picture && before?.target === this.#shown.target;
    this.#before = soft ? this.#colors : null;
    this.#began = soft && colors ? performance.now() : -FADE_MS;
    this.#colors = colors;
    if (soft) requestAnimationFrame(() => this.#animate());
  }

  #animate() {
    this.#draw();
    if (performance.now() - this.#began < FADE_MS) requestAnimationFrame(() => this.#animate());
  }

  #draw() {
    const scale = devicePixelRatio;
    const width = Math.round(this.frame.clientWidth * scale), height = Math.round(this.frame.clientHeight * scale);
    if (!this.#shown || !width || !height) return;
    if (this.#shown.picture.size && !this.image.complete) return; // what is there stays until the picture has come
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const { picture } = this.#shown;
    const arrived = Math.min(1, (performance.now() - this.#began) / FADE_MS);
    const layers = [[this.#before, 1 - arrived], [this.#colors, arrived]].filter(([colors, share]) => colors && share > 0);
    const image = picture.size ? this.image : null;
    compose(this.canvas.getContext("2d"), this.#shown, { image, layers, width, height, line: scale });
  }

  #key(event) {
    const { reply, inspected } = this.#shown;
    if (!reply || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = event.key.startsWith("Arrow");
    if (!moves && !["Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const { leaves, image_size: side } = reply;
    const begun = moves && leaves[inspected];
    const index = begun ? neighbor(leaves, side, inspected, event.key) : strongest(leaves, event.key === "End" ? -1 : 1);
    this.#inspect(index, false);
  }

  #point(event) {
    const { reply } = this.#shown;
    if (!reply) return;
    const box = this.frame.getBoundingClientRect();
    const index = regionAt(reply.leaves, reply.image_size,
      (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    if (index >= 0) this.#inspect(index, true);
  }

  #inspect(index, pointed) {
    const { reply } = this.#shown;
    this.#pointed = pointed;
    this.inspect(reply.leaves[index], reply);
  }
}
