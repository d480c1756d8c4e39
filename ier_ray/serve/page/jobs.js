// Requests about explanations as jobs, which the service keeps.

import { NPZ, pixelsIn, request, upload } from "./service.js";

const JOBS = "v1/explanations";
const NO_DOCUMENT = [401, 403, 404];

/** Whether the service has jobs: its interface document leaves them out if not. */
export async function haveJobs() {
  const reply = await request("openapi.json", {}, NO_DOCUMENT);
  return reply.ok && `/${JOBS}` in (await reply.json()).paths;
}

/** Submit a picture as a job; the same key is the same job. */
export async function submit(picture, query, key) {
  const options = upload(picture, "application/json");
  options.headers["idempotency-key"] = key;
  return (await request(`${JOBS}?${new URLSearchParams(query)}`, options)).json();
}

/** How far a job is. */
export async function jobOf(id, signal) {
  return (await request(`${JOBS}/${id}`, { signal })).json();
}

/** Stop a job; what is finished stays. */
export async function stop(id) {
  return (await request(`${JOBS}/${id}:cancel`, { method: "POST" })).json();
}

/** Stop a job and forget it with its pictures and maps. */
export async function remove(id) {
  await request(`${JOBS}/${id}`, { method: "DELETE" });
}

/** What is finished of an image's map: its numbers, its heat map, and the credit of pixels of several trees. */
export async function resultOf(id, place, signal) {
  const as = type => request(`${JOBS}/${id}/${place}`, { signal, headers: { accept: type } });
  const reply = await (await as("application/json")).json();
  const heat = await (await as("image/png")).blob();
  const index = Object.keys(reply.prediction.probabilities).indexOf(reply.target);
  const pixels = reply.settings.trees > 1 ? await pixelsIn(await as(NPZ), index) : null;
  return { reply, heat, pixels };
}
