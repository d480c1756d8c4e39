// A picture with its map on a canvas: colors, outlines, and the region that is inspected.

import { painted } from "./colors.js";
import { area, density, smoothed } from "./regions.js";

const VEIL = 0.35; // of white over the picture, so that all of the colors show on it
const GROUND = "#b9c0c7"; // of a picture that the browser cannot show

/** The colors of a reply's pixels, or of its regions, as a small canvas of the network's size. */
export function raster({ reply, pixels, smooth, limit }) {
  const { leaves, image_size: side } = reply;
  const regions = pixels ? null : density(leaves, side);
  const map = pixels ?? (smooth ? smoothed(regions, side, leaves) : regions);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(painted(map, side, limit), 0, 0);
  return canvas;
}

/**
 * Draw what a figure shows, `{reply, opacity, smooth, outlines, limit, inspected}`, over its picture.
 * `layers` are pairs of a raster and its share, which come and go; `line` is the width of a fine line.
 */
export function compose(context, shown, { image, layers, width, height, line }) {
  context.fillStyle = GROUND;
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = true;
  if (image) context.drawImage(image, 0, 0, width, height);
  const whole = Math.min(1, layers.reduce((sum, [, share]) => sum + share, 0));
  if (image) fade(context, shown.opacity * whole, width, height);
  context.imageSmoothingEnabled = shown.smooth;
  for (const [colors, share] of layers) {
    context.globalAlpha = shown.opacity * share;
    context.drawImage(colors, 0, 0, width, height);
  }
  context.globalAlpha = 1;
  if (!shown.reply) return;
  if (shown.outlines) outline(context, shown, { width, height, line });
  const marked = shown.reply.leaves[shown.inspected];
  if (marked) trace(context, marked, { side: shown.reply.image_size, width, height, line: 2.5 * line });
}

/** Take the picture's own colors away, which are not the map's, and make it lighter. */
function fade(context, opacity, width, height) {
  context.globalAlpha = Math.min(1, 2 * opacity);
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = VEIL * opacity;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.globalAlpha = 1;
}

/** Outline all regions; where colors are beyond half the scale strongly, dashed against the class. */
function outline(context, { reply, limit }, { width, height, line }) {
  const { leaves, image_size: side } = reply;
  const isStrong = leaf => Math.abs(leaf.value) / area(leaf) > limit / 2;
  for (const leaf of leaves.filter(leaf => !isStrong(leaf))) trace(context, leaf, { side, width, height, line: 0.5 * line });
  for (const leaf of leaves.filter(isStrong)) {
    const dashes = leaf.value < 0 ? [4 * line, 3 * line] : [];
    trace(context, leaf, { side, width, height, line: 1.75 * line, dashes, inset: 1.5 * line });
  }
}

/** A line around a region that shows on any ground: dark within light. */
function trace(context, leaf, { side, width, height, line, dashes = [], inset = 0 }) {
  const x = leaf.left / side * width + inset, y = leaf.top / side * height + inset;
  const box = [x, y, leaf.right / side * width - inset - x, leaf.bottom / side * height - inset - y];
  context.save();
  context.lineJoin = "round";
  context.strokeStyle = "rgb(255 255 255 / 0.8)";
  context.lineWidth = 2 * line;
  context.strokeRect(...box);
  context.setLineDash(dashes);
  context.strokeStyle = "#12181f";
  context.lineWidth = line;
  context.strokeRect(...box);
  context.restore();
}
