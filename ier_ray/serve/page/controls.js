// The form of choices: it shows them, and reports what is changed.

import { capital, percent, plural } from "./words.js";

const KINDS = {
  shapley: "One tree of regions. Every level is final, and its credits add up to the score. In percentage points.",
  sharp: "The mean of eight trees cut in different places: shows best what the score depends on. In log-odds.",
};
/** What a kind of map begins with. */
export const BEGIN = {
  shapley: { kind: "shapley", depth: 6, contexts: "both", smooth: false },
  sharp: { kind: "sharp", depth: 6, contexts: "present", smooth: true },
};

const form = document.querySelector("#choices");
const find = selector => document.querySelector(selector);

/** Call `choose` with some choices when they are made, `preview` while a slider moves. */
export function listen({ choose, preview }) {
  const some = ({ name, type, value, checked }) => {
    if (name === "kind") return BEGIN[value];
    if (name === "compare") return { compare: value || null };
    if (name === "opacity") return { opacity: value / 100 };
    return { [name]: { checkbox: checked, range: Number(value) }[type] ?? value };
  };
  form.addEventListener("change", event => choose(some(event.target)));
  form.addEventListener("input", event => {
    if (event.target.type === "range") preview(some(event.target));
  });
  form.addEventListener("submit", event => event.preventDefault());
}

/** Show choices; the target is the class that is explained. */
export function show(choices) {
  const { classes, said } = choices.picture;
  showClasses(classes, said, choices.target);
  for (const radio of form.elements.kind) radio.checked = radio.value === choices.kind;
  find("#kind-text").textContent = KINDS[choices.kind];
  for (const name of ["depth", "contexts"]) form.elements[name].value = choices[name];
  form.elements.opacity.value = 100 * choices.opacity;
  for (const name of ["outlines", "smooth"]) form.elements[name].checked = choices[name];
  showNumbers(choices);
  const others = classes.filter(name => name !== choices.target);
  const options = [new Option("nothing", ""), ...others.map(name => new Option(name, name))];
  form.elements.compare.replaceChildren(...options);
  form.elements.compare.value = choices.compare ?? "";
}

/** The numbers beside the sliders. */
function showNumbers({ depth, opacity }) {
  const regions = plural(2 ** depth, "region");
  find("#depth-text").textContent = regions;
  form.elements.depth.setAttribute("aria-valuetext", `${depth}: up to ${regions}`);
  find("#opacity-text").textContent = percent(opacity);
}

function showClasses(classes, said, target) {
  const list = find("#classes");
  const known = [...list.querySelectorAll("input")].map(input => input.value);
  if (known.join() !== classes.join()) list.replaceChildren(...classes.map(rowOf));
  find("#networks").hidden = !said.fer;
  form.classList.toggle("both", Boolean(said.fer));
  classes.forEach((name, index) => {
    const row = list.children[index];
    row.querySelector("input").checked = name === target;
    const words = [];
    for (const [network, place] of [["ier", "the picture network"], ["fer", "the face network"]]) {
      const share = said[network]?.[name];
      row.querySelector(`.bars .${network}`).style.width = `${100 * (share ?? 0)}%`;
      row.querySelector(`.shares .${network}`).textContent = share == null ? "" : percent(share);
      if (share != null) words.push(`${percent(share)} by ${place}`);
    }
    row.querySelector("input").setAttribute("aria-label", [name, ...words].join(", "));
  });
}

function rowOf(name) {
  const row = find("#class").content.firstElementChild.cloneNode(true);
  row.querySelector("input").value = name;
  row.querySelector(".name").textContent = capital(name);
  return row;
}
