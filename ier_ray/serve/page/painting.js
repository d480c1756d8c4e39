// A map on a canvas: colors, outlines, and the region that is inspected.

import { painted } from "./colors.js";
import { area, density, smoothed } from "./regions.js";

/** The colors of a reply's regions as a small canvas of the network's size. */
export function raster(reply, { smooth, limit }) {
  const { leaves, image_size: side } = reply;
  const sharp = density(leaves, side);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(painted(smooth ? smoothed(sharp, side, leaves) : sharp, side, limit), 0, 0);
  return canvas;
}

/** Lay colors over what the context shows, stretched to its size. */
export function paint(context, colors, { width, height, opacity, smooth }) {
  context.save();
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = smooth;
  context.drawImage(colors, 0, 0, width, height);
  context.restore();
}

/** Take the picture's own colors away as far as the map covers it. */
export function fade(context, { width, height, opacity }) {
  context.save();
  context.globalAlpha = opacity;
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  context.restore();
}

/** Outline all regions; where colors are beyond half the scale strongly, dashed against the class. */
export function outline(context, reply, { width, height, limit, line }) {
  const { leaves, image_size: side } = reply;
  for (const leaf of leaves) {
    const credit = leaf.value / area(leaf);
    const strong = Math.abs(credit) > limit / 2;
    const dashes = strong && credit < 0 ? [4 * line, 3 * line] : [];
    trace(context, leaf, { side, width, height, line: strong ? 1.75 * line : 0.75 * line, dashes, inset: strong ? 1.5 * line : 0 });
  }
}

/** Mark one region. */
export function mark(context, reply, index, { width, height, line }) {
  const leaf = reply.leaves[index];
  if (leaf) trace(context, leaf, { side: reply.image_size, width, height, line: 3 * line, dashes: [], inset: 0 });
}

/** A line around a region that shows on any ground: dark within light. */
function trace(context, leaf, { side, width, height, line, dashes, inset }) {
  const x = leaf.left / side * width + inset, y = leaf.top / side * height + inset;
  const box = [x, y, leaf.right / side * width - inset - x, leaf.bottom / side * height - inset - y];
  context.save();
  context.lineJoin = "round";
  context.strokeStyle = "rgb(255 255 255 / 0.85)";
  context.lineWidth = 2 * line;
  context.strokeRect(...box);
  context.setLineDash(dashes);
  context.strokeStyle = "#12181f";
  context.lineWidth = line;
  context.strokeRect(...box);
  context.restore();
}
