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
