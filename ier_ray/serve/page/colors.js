// Colors of credits: red for the class, blue against it, as in the overlays and reports of ier_ray.

// ColorBrewer's RdBu, reversed: people who confuse red and green tell its ends apart.
const STOPS = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];

/** The color of a strength from -1 to 1, as red, green, blue. */
export function color(strength) {
  const place = (Math.min(1, Math.max(-1, strength)) + 1) / 2 * (STOPS.length - 1);
  const below = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[below].map((part, index) => part + (place - below) * (STOPS[below + 1][index] - part));
}

/** A map as an image of the network's size: opaque where the credit is large, clear where there is none. */
export function painted(map, side, limit) {
  const image = new ImageData(side, side);
  map.forEach((credit, pixel) => {
    const strength = Math.min(1, Math.max(-1, credit / limit));
    image.data.set([...color(strength), 255 * Math.abs(strength)], 4 * pixel);
  });
  return image;
}

/** Draw the color bar, from -1 to 1, over a ground. */
export function paintBar(context, x, y, width, height) {
  for (let column = 0; column < width; column++) {
    const strength = 2 * (column + 0.5) / width - 1;
    context.fillStyle = `rgb(${color(strength).map(Math.round)} / ${Math.abs(strength)})`;
    context.fillRect(x + column, y, 1, height);
  }
}
