// Numbers and sentences.

import { area, rank } from "./regions.js";

const UNITS = {
  probability: { factor: 100, name: "points", long: "percentage points" },
  logit: { factor: 1, name: "logits", long: "logits" },
  log_odds: { factor: 1, name: "log-odds", long: "log-odds" },
};

const unitOf = reply => UNITS[reply.settings.score];

/** A number with its sign, and not more digits than are worth reading. */
export function signed(value) {
  const rounded = Math.abs(value) < 0.0005 ? 0 : value;
  const digits = { maximumSignificantDigits: 3, signDisplay: "exceptZero" };
  return new Intl.NumberFormat("en", digits).format(rounded).replace("-", "−");
}

/** A share in percent, with a decimal near the ends. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "<\u00a00.1\u00a0%";
  const near = share > 0 && share < 1 && (share < 0.1 || share > 0.99);
  return `${(100 * share).toFixed(near ? 1 : 0)}\u00a0%`;
}

/** A credit in its unit: "+3.21 points". */
const credit = (value, unit) => `${signed(value * unit.factor)} ${unit.name}`;

/** Where a region is: "upper left". */
function whereabouts({ top, bottom, left, right }, side) {
  const third = middle => Math.min(2, Math.floor(3 * middle / side));
  const row = ["upper", "middle", "lower"][third((top + bottom) / 2)];
  const column = ["left", "center", "right"][third((left + right) / 2)];
  return row === "middle" && column === "center" ? "center" : `${row} ${column}`;
}

/** A region and its credits: pairs of a reply and the region's index, one for each map that is shown. */
export function reading(found) {
  const [[{ leaves, image_size: side }, index]] = found;
  const leaf = leaves[index], whole = leaves.length === 1;
  const credits = found.map(([reply, at]) => `${credit(reply.leaves[at].value, unitOf(reply))} for ${reply.target}`);
  const spread = found.length === 1 && leaf.spread != null
    ? `, ± ${signed(leaf.spread * unitOf(found[0][0]).factor).replace("+", "")} between trees` : "";
  const where = whole ? "The whole picture." : `${capital(whereabouts(leaf, side))}, ${percent(area(leaf) / side ** 2)} of the picture.`;
  return {
    value: credits.join(", ") + spread,
    place: whole ? where : `${where} Rank ${rank(leaves, index)} of ${leaves.length}.`,
  };
}

/** What the credits of a map add up to. */
export function sum(reply) {
  const { factor, name } = unitOf(reply);
  const total = `${signed((reply.full - reply.empty) * factor)} ${name}`;
  const hidden = reply.settings.baseline === "blur" ? "a blurred copy" : `a ${reply.settings.baseline} picture`;
  const score = value => (factor === 100 ? percent(value) : `${signed(value)} ${name}`);
  return `The regions share out ${total}: ${score(reply.full)} for the picture, ${score(reply.empty)} for ${hidden}.`;
}

/** The words beside the color bar: credit per percent of the picture's area. */
export function scale(reply, limit) {
  const unit = unitOf(reply);
  const end = limit * reply.image_size ** 2 / 100 * unit.factor;
  return {
    least: `${signed(-end)} against`,
    most: `for ${signed(end)}`,
    unit: `Credit per 1\u00a0% of the picture, in ${unit.long}`,
  };
}

export const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

export const plural = (count, name) => `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;
