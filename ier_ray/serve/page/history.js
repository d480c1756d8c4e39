// Choices, and the way back to earlier ones.

/** A record of choices that only changes as a whole. Each change can be undone. */
export class History {
  #past = [];
  #future = [];

  constructor(choices, changed) {
    this.now = Object.freeze(choices);
    this.changed = changed;
  }

  get canUndo() { return this.#past.length > 0; }
  get canRedo() { return this.#future.length > 0; }

  /** Change some of the choices. */
  choose(some) {
    if (Object.entries(some).every(([name, value]) => this.now[name] === value)) return;
    this.#past.push(this.now);
    this.#future = [];
    this.#go({ ...this.now, ...some });
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.now);
    this.#go(this.#past.pop());
  }

  /** Undo the last change for good. */
  forget() {
    if (this.canUndo) this.#go(this.#past.pop());
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.now);
    this.#go(this.#future.pop());
  }

  #go(choices) {
    this.now = Object.freeze(choices);
    this.changed(this.now);
  }
}
