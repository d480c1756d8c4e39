// Regions of the network's square input: {top, bottom, left, right, value}; bottom and right are exclusive.

export const area = region => (region.bottom - region.top) * (region.right - region.left);

/** Credit per pixel, row by row, of a square input of `side` pixels. */
export function density(leaves, side) {
  const found = new Float64Array(side * side);
  for (const leaf of leaves) {
    const each = leaf.value / area(leaf);
    for (let row = leaf.top; row < leaf.bottom; row++) {
      found.fill(each, row * side + leaf.left, row * side + leaf.right);
    }
  }
  return found;
}

/** The credit per pixel at which colors saturate: the 99th percentile of its absolute values. */
export function saturation(map) {
  const sizes = map.map(Math.abs).sort();
  const place = 0.99 * (sizes.length - 1), below = Math.floor(place);
  const percentile = sizes[below] + (place - below) * (sizes[Math.ceil(place)] - sizes[below]);
  return percentile || sizes.at(-1) || 1;
}

/** The map interpolated between the middles of its regions: the mean around each pixel over a region's size. */
export function smoothed(map, side, leaves) {
  const width = Math.min(...leaves.map(leaf => leaf.right - leaf.left));
  const height = Math.min(...leaves.map(leaf => leaf.bottom - leaf.top));
  return averaged(averaged(map, side, width, 1, side), side, height, side, 1);
}

/** The running mean over `length` pixels of each line; the ends are repeated. */
function averaged(map, side, length, step, stride) {
  const found = new Float64Array(map.length);
  const half = (length - 1) / 2;
  for (let line = 0; line < side; line++) {
    const at = place => map[line * stride + step * Math.min(side - 1, Math.max(0, place))];
    for (let place = 0; place < side; place++) {
      let sum = 0;
      // An even length reaches half a pixel further on either side.
      for (let offset = -Math.floor(half); offset <= Math.floor(half); offset++) sum += at(place + offset);
      if (length % 2 === 0) sum += (at(place - half - 0.5) + at(place + half + 0.5)) / 2;
      found[line * stride + step * place] = sum / length;
    }
  }
  return found;
}

/** Index of the region at a place in shares of the sides; -1 outside of the picture. */
export function regionAt(leaves, side, x, y) {
  const column = x * side, row = y * side;
  return leaves.findIndex(each =>
    each.left <= column && column < each.right && each.top <= row && row < each.bottom);
}

/** Index of the region next to one, or of itself at the border. */
export function neighbor(leaves, side, index, key) {
  const { top, bottom, left, right } = leaves[index];
  const x = (left + right) / 2, y = (top + bottom) / 2;
  const [column, row] = {
    ArrowLeft: [left - 0.5, y], ArrowRight: [right + 0.5, y],
    ArrowUp: [x, top - 0.5], ArrowDown: [x, bottom + 0.5],
  }[key];
  const found = regionAt(leaves, side, column / side, row / side);
  return found < 0 ? index : found;
}

/** Index of the region with the largest credit per area for the class, or against it. */
export function strongest(leaves, sign) {
  const credit = each => sign * each.value / area(each);
  return leaves.reduce((best, each, index) => (credit(each) > credit(leaves[best]) ? index : best), 0);
}

/** The place of a region among all, by the size of its credit per area; 1 is the largest. */
export function rank(leaves, index) {
  const size = each => Math.abs(each.value) / area(each);
  return 1 + leaves.filter(each => size(each) > size(leaves[index])).length;
}
