// The dialog that shares a map: it says what is kept, submits the job, and gives its link.

import { keyOf, queryOf, targetsOf } from "./explaining.js";
import { submit } from "./jobs.js";
import { capital } from "./words.js";

const find = selector => document.querySelector(selector);
const dialog = find("#share-dialog"), link = find("#link"), told = find("#share-told");

const hashOf = id => (id ? `#job=${id}` : "");

/** The id of the job that the page's address names, or null. */
export const jobInAddress = () => location.hash.match(/^#job=(.+)$/)?.[1] ?? null;

/** Let the page's address name a job, or none. */
export function showAddress(id) {
  const hash = hashOf(id);
  if (location.hash !== hash) history.replaceState(null, "", hash || location.pathname + location.search);
}

/** A key that nobody else has chosen; also where the page has no secure context. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");

/** Shares what the choices show. `shared` is called with the id of a new job. */
export class Sharing {
  #made = new Map(); // by picture and settings: {key, id}
  #choices = null;

  constructor({ shared }) {
    this.shared = shared;
    find("#share-upload").addEventListener("click", () => this.#upload());
    find("#copy").addEventListener("click", () => copy());
    for (const id of ["#share-close", "#share-done"]) find(id).addEventListener("click", () => dialog.close());
  }

  /** The job that shows the same, if it was shared. */
  idOf(choices) {
    return choices.picture ? this.#made.get(nameOf(choices))?.id : undefined;
  }

  /** A job that is no more is not offered again. */
  forget(id) {
    for (const [name, made] of this.#made) if (made.id === id) this.#made.delete(name);
  }

  /** Ask whether to share, or give the link that there is. */
  open(choices) {
    this.#choices = choices;
    const [target, other] = targetsOf(choices);
    find("#share-which").textContent = other ? `Only the map of ${capital(target)} is shared.` : "";
    const id = this.idOf(choices);
    told.textContent = "";
    dialog.showModal();
    if (id) give(id);
    else showStep(false);
  }

  /** Give the link of a job. */
  give(id) {
    this.#choices = null;
    told.textContent = "";
    dialog.showModal();
    give(id);
  }

  async #upload() {
    const choices = this.#choices, name = nameOf(choices);
    const made = this.#made.get(name) ?? { key: newKey(), id: null }; // tried again, it is the same job
    this.#made.set(name, made);
    find("#share-upload").disabled = true;
    told.textContent = "Uploading …";
    try {
      const [target] = targetsOf(choices);
      const job = await submit(choices.picture.blob, queryOf(choices, target), made.key);
      made.id = job.id;
      this.shared(job.id);
      if (dialog.open && this.#choices === choices) await give(job.id);
    } catch (error) {
      if (error.kind === "key_used") this.#made.delete(name);
      if (this.#choices === choices) told.textContent = [error.title, capital(error.detail ?? error.message)].filter(Boolean).join(" ");
    } finally {
      find("#share-upload").disabled = false;
    }
  }
}

const nameOf = choices => `${choices.picture.address} ${keyOf(choices, targetsOf(choices)[0])}`;

function showStep(done) {
  find("#share-before").hidden = done;
  find("#share-after").hidden = !done;
}

/** Show the link of a job, and copy it. */
async function give(id) {
  link.value = new URL(hashOf(id), location.href).href;
  showStep(true);
  link.focus();
  await copy();
}

async function copy() {
  link.select();
  try {
    await navigator.clipboard.writeText(link.value);
    told.textContent = "The link is copied.";
  } catch { // it is not allowed, or not there without HTTPS
    told.textContent = "The browser does not let this page copy. Copy the selected link yourself.";
  }
}
