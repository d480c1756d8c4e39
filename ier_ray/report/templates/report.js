// On a phone a row of a table is a list, in which each cell has its column's name.
for (const table of document.querySelectorAll(".wide table")) {
  const names = [...table.querySelectorAll("thead th")].map(head => head.textContent);
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, index) => { cell.dataset.label = names[index]; });
  }
  table.parentElement.classList.add("stacked");
}
for (const figure of document.querySelectorAll(".explanation")) {
  const level = figure.querySelector(".level"), opacity = figure.querySelector(".opacity");
  level.addEventListener("input", () => {
    for (const map of figure.querySelectorAll(".map")) {
      const layers = [...map.querySelectorAll(".layer")];
      const shown = Math.min(Number(level.value), layers.length) - 1;
      layers.forEach((layer, index) => { layer.hidden = index !== shown; });
      map.querySelector(".which").textContent = shown + 1;
      map.querySelector(".regions").textContent = layers[shown].dataset.regions;
      for (const end of map.querySelectorAll(".limit")) end.textContent = layers[shown].dataset.limit;
    }
  });
  opacity.addEventListener("input", () => figure.style.setProperty("--opacity", opacity.value / 100));
}
