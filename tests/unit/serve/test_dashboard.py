"""The Grafana dashboard as a file; that its metrics exist is checked where a service runs."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
from support.prometheus import metrics_in
from support.runs import ROOT

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "ier_ray.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a_b) (rate(one_total{x="y{z}", u=~".*"}[5m]))', {"one_total"}),
        (
            "histogram_quantile(0.95, sum by (le) (rate(two_bucket[$__rate_interval])))",
            {"two_bucket"},
        ),
        ("sum (one) / sum (2 * two:rate5m)", {"one", "two:rate5m"}),
        ("smu(one)", {"smu", "one"}),  # a wrong function is no metric that exists
    ],
)
def test_names_of_metrics_are_found(expression: str, names: set[str]) -> None:
    assert metrics_in(expression) == names


def test_every_graph_asks_the_chosen_prometheus() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert len(GRAPHS) > 15
    for panel in GRAPHS:
        assert panel["datasource"] == source
        for target in panel["targets"]:
            assert target["datasource"] == source
            assert len(metrics_in(target["expr"])) >= 1
            assert target["expr"].count("(") == target["expr"].count(")")


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, two in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= two["x"]
            or two["x"] + two["w"] <= one["x"]
            or one["y"] + one["h"] <= two["y"]
            or two["y"] + two["h"] <= one["y"]
        )
        assert apart, (one, two)
