"""Plots of a network's layers, from the record of ``jobs/layerwise.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from matplotlib.axes import Axes

from ier_ray.report.results import marker
from ier_ray.report.svg import COLORS, INK, Plot, canvas

Layer = dict[str, Any]
CHANCE = "#8a949e"
DEPTH = "layer, in order"
TALL = (4.2, 4.0)
"""In inches: names of layers need room."""


def layer_plots(record: dict[str, Any]) -> Iterator[Plot]:
    """Intersection with its interval by chance, separation, and probe over depth."""
    images, random = record["images"], record["random"]
    networks: dict[str, list[Layer]] = record["networks"]
    trained = [name for name in networks if name != random]
    last = networks[trained[-1]] if trained else networks[random]
    names = _short(networks, random)
    with canvas("Intersection of classes", DEPTH, "mean intersection (0 to 1)", size=TALL) as made:
        _band(made.axes, last, lambda one: one["chance"], "by chance, 95 %", CHANCE)
        _lines(made.axes, networks, names, lambda one: one["intersection"])
        made.axes.set_ylim(0, 1.02)
        _finish(made.axes, last)
        yield made.plot(
            "Mean intersection of classes in each layer",
            note=f"{images} images. 0: the classes' ranges do not meet; 1: they are the same. Only "
            f"below the gray band, where shuffled labels fall, do the classes differ.",
        )
    with canvas("Separation of classes", DEPTH, "mean separation (std. dev.)", size=TALL) as made:
        _lines(made.axes, networks, names, lambda one: one["separation"])
        made.axes.set_ylim(bottom=0)
        _finish(made.axes, last)
        yield made.plot(
            "Mean separation of classes in each layer",
            note="Distance of two classes' means, in units of their images' distance to these.",
        )
    with canvas("Linear probe", DEPTH, "accuracy (share of images)", size=TALL) as made:
        _band(made.axes, last, lambda one: one["probe"], "95 % interval", COLORS[0])
        _lines(made.axes, networks, names, lambda one: one["probe"] and one["probe"]["accuracy"])
        classes = sum(1 for count in last[0]["images"].values() if count)
        made.axes.axhline(1 / classes, color=INK, linestyle="--", linewidth=1, label="chance")
        made.axes.set_ylim(0, 1.02)
        _finish(made.axes, last)
        yield made.plot(
            "Accuracy of a linear probe in each layer",
            note="A linear classifier on each layer's output, tested on images of other folds.",
        )


def _lines(
    axes: Axes,
    networks: dict[str, list[Layer]],
    names: dict[str, str],
    value: Callable[[Layer], float | None],
) -> None:
    for number, (network, layers) in enumerate(networks.items()):
        axes.plot(
            range(len(layers)),
            [_number(value(one)) for one in layers],
            marker=marker(number),
            markersize=4.5,
            color=COLORS[number % len(COLORS)],
            label=names[network],
        )


def _band(
    axes: Axes,
    layers: list[Layer],
    of: Callable[[Layer], dict[str, float] | None],
    label: str,
    color: str,
) -> None:
    found = [of(one) or {} for one in layers]
    low, high = ([_number(one.get(end)) for one in found] for end in ("low", "high"))
    axes.fill_between(
        range(len(layers)), low, high, color=color, alpha=0.2, linewidth=0, label=label
    )


def _finish(axes: Axes, layers: list[Layer]) -> None:
    names = [one["layer"] for one in layers]
    axes.set_xticks(range(len(names)), names, rotation=55, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=True)
    axes.figure.legend(loc="outside lower center", ncols=2)


def _short(networks: dict[str, list[Layer]], random: str) -> dict[str, str]:
    """The ends of locations, where these differ."""
    ends = {name: "/".join(name.rstrip("/").split("/")[-2:]) for name in networks}
    ends[random] = random
    return ends if len(set(ends.values())) == len(ends) else {name: name for name in networks}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
