// Colors of credits: red for the class, blue against it, as in the overlays and reports of ier_ray.

// ColorBrewer's RdBu, reversed, without its darkest ends: people who confuse red and green tell them apart.
const STOPS = [
  [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43],
];
const RISE = 0.7; // exponent of the opacity: small credits show, too

/** Red, green, blue and opacity (0 to 1) of a strength from -1 to 1. */
export function color(strength) {
  const bounded = Math.min(1, Math.max(-1, strength));
  const place = (bounded + 1) / 2 * (STOPS.length - 1);
  const below = Math.min(STOPS.length - 2, Math.floor(place));
  const mixed = STOPS[below].map((part, index) => part + (place - below) * (STOPS[below + 1][index] - part));
  return [...mixed.map(Math.round), Math.abs(bounded) ** RISE];
}

/** A map as an image of the network's size. */
export function painted(map, side, limit) {
  const image = new ImageData(side, side);
  map.forEach((credit, pixel) => {
    const [red, green, blue, opacity] = color(credit / limit);
    image.data.set([red, green, blue, 255 * opacity], 4 * pixel);
  });
  return image;
}

/** Draw the color bar, from -1 to 1. */
export function paintBar(context, x, y, width, height) {
  for (let column = 0; column < width; column++) {
    const [red, green, blue, opacity] = color(2 * (column + 0.5) / width - 1);
    context.fillStyle = `rgb(${red} ${green} ${blue} / ${opacity})`;
    context.fillRect(x + column, y, 1, height);
  }
}
