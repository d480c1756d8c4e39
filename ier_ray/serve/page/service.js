// Requests to the service. Addresses are relative to the page.

import { arrayOf } from "./npz.js";

export const NPZ = "application/x-npz";

const TITLES = {
  400: "The service does not understand this.",
  401: "The service asks for a token.",
  403: "This is not allowed.",
  413: "This picture is too large.",
  415: "This picture cannot be read.",
  422: "The service refuses these settings.",
  429: "Too many requests.",
  503: "The service is busy.",
  504: "This took too long.",
};

let token = ""; // forgotten with the page

/** Send a token with all further requests. */
export function useToken(given) {
  token = given;
}

/** A request that was not served. `title` and `detail` are meant for people; `kind` is the service's name of it. */
export class ServiceError extends Error {
  constructor(title, detail, status = 0, kind = "") {
    super(detail);
    Object.assign(this, { name: "ServiceError", title, detail, status, kind });
  }
}

/** What the service says of a network, "ier" or "fer"; null if it does not serve that one. */
export async function model(network, signal) {
  const reply = await request(`v1/models/${network}`, { signal }, [404]);
  return reply.status === 404 ? null : reply.json();
}

/** Class probabilities of a picture. */
export async function predict(network, picture, signal) {
  const reply = await request(`v1/models/${network}:predict`, upload(picture, "application/json", signal));
  return reply.json();
}

/**
 * An explanation as it grows: the reply after each finished level, and at last the whole.
 * Aborting the signal ends the work in the service, too.
 */
export async function* explain(picture, query, signal) {
  const address = `v1/models/ier:explain?${new URLSearchParams(query)}`;
  const reply = await request(address, upload(picture, "text/event-stream", signal));
  let whole = false;
  for await (const { name, data } of events(reply.body)) {
    const content = JSON.parse(data);
    if (name === "error") throw new ServiceError(titleOf(content.status), content.detail ?? data, content.status);
    if (name !== "level" && name !== "explanation") continue;
    whole = name === "explanation";
    yield content;
  }
  if (!whole) throw new ServiceError("The connection was lost.", "The explanation ended before its last level.");
}

/**
 * Credit per pixel of a class, row by row, of a mean over several trees; null if the service does not
 * tell. `place` is that of the class among the network's.
 */
export async function pixelsOf(picture, query, place, signal) {
  const address = `v1/models/ier:explain?${new URLSearchParams(query)}`;
  return pixelsIn(await request(address, upload(picture, `${NPZ}, application/json;q=0.1`, signal)), place);
}

/** The same from a reply, if it has arrays. */
export async function pixelsIn(reply, place) {
  if (!reply.headers.get("content-type")?.startsWith(NPZ)) return null;
  const density = await arrayOf(await reply.arrayBuffer(), "density");
  if (!density) return null;
  const [height, width] = density.shape;
  return Float64Array.from({ length: height * width }, (_, pixel) =>
    density.at(Math.floor(pixel / width), pixel % width, place));
}

/** The server-sent events of a body, each when it arrives. */
export async function* events(body) {
  let pending = "";
  for await (const text of chunks(body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (pending + text).split(/\r?\n\r?\n/);
    pending = blocks.pop();
    for (const block of blocks) {
      const fields = block.split(/\r?\n/).map(line => line.match(/^(\w*):? ?(.*)$/s) ?? []);
      const data = fields.filter(([, name]) => name === "data").map(([, , value]) => value);
      const name = fields.findLast(([, name]) => name === "event")?.[2] ?? "message";
      if (data.length) yield { name, data: data.join("\n") };
    }
  }
}

/** The parts of a stream; not all browsers can iterate over one. */
async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already
  }
}

/** The options of a request that sends a picture. */
export function upload(picture, accept, signal) {
  const headers = { accept, "content-type": picture.type || "application/octet-stream" };
  return { method: "POST", body: picture, headers, signal };
}

/**
 * The reply to a request.
 * @throws {ServiceError} unless it succeeded or its status is allowed.
 */
export async function request(address, options = {}, allowed = []) {
  let reply;
  try {
    const access = token ? { authorization: `Bearer ${token}` } : {};
    reply = await fetch(address, { ...options, headers: { ...options.headers, ...access } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached.", "Is it running, and are you connected?");
  }
  if (reply.ok || allowed.includes(reply.status)) return reply;
  throw new ServiceError(titleOf(reply.status), ...saidOf(await reply.text(), reply));
}

function titleOf(status) {
  return TITLES[status] ?? "The service failed.";
}

/** What an error's body says, problem details or whatever else came: detail, status, kind. */
function saidOf(text, reply) {
  const { status } = reply;
  try {
    const { detail, title, error } = JSON.parse(text);
    if (detail || title) return [String(detail || title), status, error];
  } catch {
    // not JSON: a proxy's own page, say
  }
  const words = text.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim().slice(0, 300);
  return [[`Status ${status}${reply.statusText ? ` ${reply.statusText}` : ""}.`, words].join(" ").trim(), status];
}
