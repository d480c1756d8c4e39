"""Figures and bars of the benchmark of the service."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from serving.cells import Cell
from serving.contenders import BARE, ONE_HOP, OURS, serves
from serving.report import Bar, figures, load_bars
from serving.rounds import BUSY, IDLE, TWICE, Turn

CELL = Cell(
    contender=OURS,
    offered=None,
    connections=4,
    rps=100.0,
    p50_ms=10.0,
    p95_ms=20.0,
    p99_ms=30.0,
    ok=1000,
    rejected=0,
    gave_up=0,
    errors=0,
    wrong=0,
    cpu_ms=5.0,
    cluster_cpu_ms=1.0,
    client_cpu_ms=0.1,
    lag_ms=1.0,
)


def turn(contender: str, *, rps: float, idle_ms: float, twice: Cell = CELL) -> Turn:
    closed = (replace(CELL, rps=rps / 2, cpu_ms=1.0), replace(CELL, rps=rps))
    shares = {IDLE: replace(CELL, p50_ms=idle_ms), BUSY: CELL, TWICE: twice}
    return Turn(contender, closed, shares)


TURNS = [
    turn(OURS, rps=90, idle_ms=12, twice=replace(CELL, rps=30, gave_up=400)),
    turn(OURS, rps=80, idle_ms=13, twice=replace(CELL, rps=76, rejected=700, wrong=1)),
    turn(ONE_HOP, rps=100, idle_ms=10),
    turn(BARE, rps=120, idle_ms=5),
]


def test_the_best_round_of_each_counts() -> None:
    found = figures(TURNS)
    assert found["ours_rps"] == 90
    assert found["ratio_onehop"] == 0.9
    assert found["ratio_bare"] == 0.75
    assert (found["idle_p50_ms"], found["bare_idle_p50_ms"]) == (12, 5)
    assert found["ours_cpu_ms"] == 5  # of the fastest closed loop
    assert found["rps_at_twice_saturation"] == 76
    assert found["twice_over_maximum"] == pytest.approx(0.95)
    assert found["rejected_at_twice_saturation"] == 700
    assert found["failed_at_twice_saturation"] == 0
    assert found["gave_up"] == 400
    assert found["wrong"] == 1


def test_bars_are_held_or_missed() -> None:
    found = {bar.name: bar.held for bar in load_bars("demo", figures(TURNS))}
    assert found == {
        "requests/s over one hop": True,
        "median when idle over one hop": True,
        "twice saturation over maximum": True,
        "neither 200 nor 503 there": True,
        "wrong replies": False,
    }
    assert not load_bars("paper", figures(TURNS))[0].held
    assert not Bar("never measured", math.nan, 3).held
    assert not Bar("never measured", math.nan, 3, at_least=True).held


@pytest.mark.parametrize(
    ("title", "contender"),
    [
        ("ray::ServeReplica:ier:Ingress.handle_request", {OURS}),
        ("ray::ServeReplica:onehop:OneHop", {ONE_HOP}),
        ("ray::ProxyActor.run", {OURS, ONE_HOP}),
        ("haproxy -f proxy.cfg", {OURS, ONE_HOP}),
        ("ray::ExplainWorker", {OURS}),
        ("ray::ServeController.run_control_loop", set()),
        ("ray::IDLE", set()),
        ("/lib/ray/core/src/ray/raylet/raylet --session", set()),
    ],
)
def test_whose_work_a_process_does(title: str, contender: set[str]) -> None:
    assert {name for name in (OURS, ONE_HOP) if serves(title, name)} == contender
