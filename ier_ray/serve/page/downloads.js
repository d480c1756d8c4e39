// What can be kept: the maps as a picture, the numbers as JSON.

import { paintBar } from "./colors.js";
import { compose, raster } from "./painting.js";
import { capital, percent, scale, sum } from "./words.js";

const SIDES = { least: 480, most: 1024 };
const GAP = 24;
const FONT = "system-ui, sans-serif";

/** Save maps side by side, with their scale: a list of what the figures show. */
export async function savePng(maps) {
  const { width, height } = sizeOf(maps[0].picture);
  const [top, bottom] = [56, 132];
  const canvas = document.createElement("canvas");
  canvas.width = maps.length * (width + GAP) + GAP;
  canvas.height = top + height + bottom;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const image = maps[0].picture.size && await createImageBitmap(maps[0].picture.blob);
  maps.forEach((map, index) => {
    const x = GAP + index * (width + GAP);
    write(context, `${capital(map.target)} ${map.said == null ? "" : percent(map.said)}`, x, 36, 22, "600", width);
    context.save();
    context.translate(x, top);
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    const layers = [[raster(map), 1]];
    compose(context, { ...map, inspected: null }, { image, layers, width, height, line: width / 480 });
    context.restore();
    write(context, sum(map.reply), x, top + height + 24, 13, "400", width);
  });
  drawScale(context, { x: GAP, y: top + height + 52, width: Math.min(width, 360) }, scale(maps[0].reply, maps[0].limit));
  save(await new Promise(done => canvas.toBlob(done, "image/png")), `${stem(maps)}.png`);
}

/** Save the replies of the service. */
export function saveJson(maps) {
  const replies = maps.map(map => map.reply);
  const text = JSON.stringify(replies.length === 1 ? replies[0] : replies, null, 2);
  save(new Blob([text], { type: "application/json" }), `${stem(maps)}.json`);
}

function drawScale(context, { x, y, width }, { least, most, unit }) {
  context.fillStyle = "#808080";
  context.fillRect(x, y, width, 14);
  context.fillStyle = "#fff";
  context.fillRect(x + 1, y + 1, width - 2, 12);
  paintBar(context, x + 1, y + 1, width - 2, 12);
  context.textAlign = "left";
  write(context, least, x, y + 32, 13, "400", width / 3);
  context.textAlign = "center";
  write(context, "0", x + width / 2, y + 32, 13, "400", width / 3);
  context.textAlign = "right";
  write(context, most, x + width, y + 32, 13, "400", width / 3);
  context.textAlign = "left";
  write(context, unit, x, y + 54, 13, "400", width);
}

function write(context, text, x, y, size, weight, width) {
  context.fillStyle = "#1f2933";
  context.font = `${weight} ${size}px ${FONT}`;
  context.fillText(text, x, y, width);
}

/** The picture's own size, within bounds; a picture that cannot be shown is a square. */
function sizeOf({ size }) {
  const { width, height } = size ?? { width: SIDES.least, height: SIDES.least };
  const longest = Math.max(width, height);
  const factor = Math.min(SIDES.most, Math.max(SIDES.least, longest)) / longest;
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}

function stem(maps) {
  return [maps[0].picture.name.replace(/\.[^.]*$/, ""), ...maps.map(map => map.target)].join("-").replace(/[^\p{L}\p{N}._-]+/gu, "-");
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // the download has begun by then
}
