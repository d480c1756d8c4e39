"""One self-contained HTML page about the layers of networks, with interactive plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from ier_ray import __version__
from ier_ray.layerwise.analysis import LayerScores
from ier_ray.layerwise.pca import COMPONENTS
from ier_ray.layerwise.record import Layerwise, defined, mean_separation
from ier_ray.plotly_html import as_html

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
"""Of classes and networks; told apart by people who do not see all colors (Okabe and Ito)."""
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "circle-open",
    "square-open",
    "diamond-open",
    "x",
)
"""Of classes: those that plotly has in three dimensions."""
REACH = 4.0
"""Ends of the axes of scatter plots, in standard deviations of the first component."""
CHANCE_FILL = "rgba(120, 130, 140, 0.2)"


@dataclass(frozen=True)
class Plot:
    """A plot with its heading."""

    title: str
    note: str
    figure: str
    """HTML in which plotly has escaped all names."""


def render_page(result: Layerwise, *, title: str) -> str:
    """The page; it loads nothing."""
    environment = Environment(
        loader=PackageLoader("ier_ray.layerwise", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    trained = [name for name in result.networks if name != result.random]
    return environment.get_template("layerwise.html").render(
        title=title,
        result=result,
        layers=result.networks[trained[-1]],
        random={layer.layer: layer for layer in result.networks[result.random]},
        shown=labels(result)[trained[-1]],
        networks=list(labels(result).values()),
        reach=REACH,
        clouds=json.dumps(clouds(result)).replace("<", "\\u003c"),
        plots=list(plots(result)),
        separation=lambda layer: defined(mean_separation(layer)),
        defined=defined,
        plotly_js=get_plotlyjs(),
        version=__version__,
    )


def labels(result: Layerwise) -> dict[str, str]:
    """What the networks are called in plots: the ends of their locations, where these differ."""
    ends = {name: "/".join(name.rstrip("/").split("/")[-2:]) for name in result.networks}
    return ends if len(set(ends.values())) == len(ends) else {name: name for name in ends}


def clouds(result: Layerwise) -> dict[str, Any]:
    """What the page's own script draws: the images of each layer of each network."""
    return {
        "classes": [
            {"name": name, "color": each(COLORS, index), "symbol": each(SYMBOLS, index)}
            for index, name in enumerate(result.classes)
        ],
        "labels": result.labels.tolist(),
        "images": list(result.sample_ids),
        "reach": REACH,
        "networks": {
            labels(result)[network]: {layer.layer: cloud(layer) for layer in layers}
            for network, layers in result.networks.items()
        },
    }


def cloud(layer: LayerScores) -> dict[str, Any]:
    """A layer's scores in units of the first component's standard deviation, as all layers have
    the same axes then; at most at the axes' ends. Components that are not there are 0."""
    scores = layer.components.scores
    unit = np.sqrt(layer.components.eigenvalues[0]) if scores.shape[1] else 1.0
    whole = np.zeros((len(scores), COMPONENTS))
    whole[:, : scores.shape[1]] = scores / unit
    return {
        "points": np.round(whole.clip(-REACH, REACH), 3).tolist(),
        "explained": np.round(layer.components.explained, 4).tolist(),
    }


def plots(result: Layerwise) -> Iterator[Plot]:
    """Figures over depth, each network a line."""
    yield Plot(
        "Intersection over depth",
        "The mean over all pairs of classes: 0, the classes' ranges do not meet; 1, they are the "
        "same. The band is where the last checkpoint's mean falls with shuffled labels: only below "
        "it do the classes differ.",
        over_depth(result, "mean intersection", lambda layer: layer.mean, with_chance),
    )
    yield Plot(
        "Separation over depth",
        "The distance between the means of two classes in the whole space, in units of their "
        "images' distance to these; the mean over all pairs.",
        over_depth(result, "mean separation", mean_separation),
    )
    yield Plot(
        "Linear probe over depth",
        "Accuracy of a linear classifier on images of other folds, with its 95 % interval. The "
        "dashed line is chance.",
        over_depth(
            result,
            "accuracy of the probe",
            lambda layer: layer.probe.accuracy if layer.probe else float("nan"),
            with_probe,
        ),
    )


def over_depth(
    result: Layerwise,
    title: str,
    value: Callable[[LayerScores], float],
    decorate: Callable[[go.Figure, Layerwise], None] | None = None,
) -> str:
    """A plot of a figure of each layer, a line for each network."""
    figure = go.Figure()
    if decorate is not None:
        decorate(figure, result)
    for index, (network, layers) in enumerate(result.networks.items()):
        figure.add_scatter(
            x=[layer.layer for layer in layers],
            y=[defined(value(layer)) for layer in layers],
            name=labels(result)[network],
            mode="lines+markers",
            line={
                "color": "#66717d" if network == result.random else each(COLORS, index),
                "dash": "dot" if network == result.random else "solid",
            },
        )
    figure.update_layout(
        xaxis_title="layer",
        yaxis_title=title,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02},
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(margin={"t": 20, "b": 60, "l": 60, "r": 20})
    # The bar of buttons covers legends on phones, and may offer to upload the figure's data.
    return as_html(figure, title.replace(" ", "-"), displayModeBar=False)


def with_chance(figure: go.Figure, result: Layerwise) -> None:
    """The band of the last checkpoint's mean intersection with shuffled labels."""
    layers = last_trained(result)
    names = [layer.layer for layer in layers]
    for ends, fill in (("mean_high", None), ("mean_low", "tonexty")):
        figure.add_scatter(
            x=names,
            y=[defined(getattr(layer.chance, ends)) for layer in layers],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=CHANCE_FILL,
            name="by chance, 95 %",
            showlegend=fill is not None,
            hoverinfo="skip",
        )


def with_probe(figure: go.Figure, result: Layerwise) -> None:
    """The interval of the last checkpoint's probe, and chance."""
    layers = [layer for layer in last_trained(result) if layer.probe is not None]
    names = [layer.layer for layer in layers]
    for ends, fill in (("high", None), ("low", "tonexty")):
        figure.add_scatter(
            x=names,
            y=[getattr(layer.probe, ends) for layer in layers],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor="rgba(0, 114, 178, 0.15)",
            name="95 % interval",
            showlegend=fill is not None,
            hoverinfo="skip",
        )
    present = len(np.unique(result.labels))
    figure.add_hline(y=1 / present, line_dash="dash", line_color="#66717d")


def last_trained(result: Layerwise) -> list[LayerScores]:
    """The layers of the last network that is not the randomly initialized one."""
    name = [name for name in result.networks if name != result.random][-1]
    return list(result.networks[name])


def each(values: tuple[str, ...], index: int) -> str:
    """One of a cycle of values."""
    return values[index % len(values)]
