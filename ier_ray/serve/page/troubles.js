// What has failed, until the same works or something else is chosen.

const REFUSED = [400, 413, 415, 422]; // would be refused again
const NO_TOKEN = 401;

/** Messages by what failed, the latest last. `changed` is called whenever another one is to be shown. */
export class Troubles {
  #all = new Map();

  constructor(changed) {
    this.changed = changed;
  }

  /** What to show: {title, detail, token, again}, or nothing. `again` tries once more, if that may help. */
  get latest() { return [...this.#all.values()].at(-1); }

  has(what) { return this.#all.has(what); }

  add(what, error, again) {
    this.#all.set(what, {
      title: error.title ?? "Something went wrong in this page.",
      detail: error.detail ?? error.message,
      again: [...REFUSED, NO_TOKEN].includes(error.status) ? null : again,
      token: error.status === NO_TOKEN,
    });
    this.changed();
  }

  /** The same works now. */
  end(what) {
    if (this.#all.delete(what)) this.changed();
  }

  clear() {
    this.#all.clear();
  }

  dismiss() {
    this.end([...this.#all.keys()].at(-1));
  }

  retry() {
    const { again } = this.latest;
    this.dismiss();
    again();
  }

  /** Do what may fail. */
  async attempt(what, act) {
    try {
      await act();
      this.end(what);
    } catch (error) {
      this.add(what, error, () => this.attempt(what, act));
    }
  }
}
