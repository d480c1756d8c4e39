"""From turns to figures, and the bars that figures must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.cells import Cell
from serving.contenders import BARE, ONE_HOP, OURS
from serving.rounds import BUSY, IDLE, TWICE, Turn

Record = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """A limit of one figure."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def held(self) -> bool:
        """Whether the figure is within the limit; one that is not a number is not."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        verdict, sign = "held" if self.held else "MISSED", ">=" if self.at_least else "<="
        return f"{verdict:<8}{self.name}: {self.value:.3g} {sign} {self.limit:g}"


def figures(turns: Sequence[Turn]) -> Record:
    """Figures of one network over all rounds; the best round of each counts."""
    ours, onehop, bare = (
        [turn for turn in turns if turn.contender == name] for name in (OURS, ONE_HOP, BARE)
    )
    ours_rps, onehop_rps, bare_rps = (
        max(turn.maximum.rps for turn in each) for each in (ours, onehop, bare)
    )
    twice = max(ours, key=lambda turn: turn.open[TWICE].rps / turn.maximum.rps)
    beyond = twice.open[TWICE]
    cells = [cell for turn in ours for cell in turn.cells]
    return {
        "ours_rps": ours_rps,
        "onehop_rps": onehop_rps,
        "bare_rps": bare_rps,
        "ratio_onehop": ours_rps / onehop_rps,
        "ratio_bare": ours_rps / bare_rps,
        "ours_cpu_ms": min(turn.maximum.cpu_ms for turn in ours),
        "ours_cluster_cpu_ms": min(turn.maximum.cluster_cpu_ms for turn in ours),
        "onehop_cpu_ms": min(turn.maximum.cpu_ms for turn in onehop),
        "bare_cpu_ms": min(turn.maximum.cpu_ms for turn in bare),
        "idle_p50_ms": min(turn.open[IDLE].p50_ms for turn in ours),
        "onehop_idle_p50_ms": min(turn.open[IDLE].p50_ms for turn in onehop),
        "bare_idle_p50_ms": min(turn.open[IDLE].p50_ms for turn in bare),
        "p99_ms": min(turn.open[BUSY].p99_ms for turn in ours),
        "rps_at_twice_saturation": beyond.rps,
        "twice_over_maximum": beyond.rps / twice.maximum.rps,
        "bare_twice_over_maximum": max(turn.open[TWICE].rps / turn.maximum.rps for turn in bare),
        "rejected_at_twice_saturation": beyond.rejected,
        "failed_at_twice_saturation": beyond.gave_up + beyond.errors,
        "rejected": sum(cell.rejected for cell in cells),
        "gave_up": sum(cell.gave_up for cell in cells),
        "errors": sum(cell.errors for cell in cells),
        "wrong": sum(cell.wrong for turn in turns for cell in turn.cells),
    }


def load_bars(network: str, record: Record) -> list[Bar]:
    """What a comparison must hold."""
    bars = {
        "paper": [Bar("requests/s over bare", record["ratio_bare"], 0.95, at_least=True)],
        "demo": [
            Bar("requests/s over one hop", record["ratio_onehop"], 0.9, at_least=True),
            Bar(
                "median when idle over one hop",
                record["idle_p50_ms"] / record["onehop_idle_p50_ms"],
                1.3,
            ),
        ],
    }
    return [
        *bars[network],
        Bar("twice saturation over maximum", record["twice_over_maximum"], 0.9, at_least=True),
        Bar("neither 200 nor 503 there", record["failed_at_twice_saturation"], 0),
        Bar("wrong replies", record["wrong"], 0),
    ]


def explain_bars(record: Record) -> list[Bar]:
    """What predictions and the health check must hold beside explanations."""
    slower = record["predict_p95_ms"] / record["predict_idle_p95_ms"]
    return [
        Bar("95th percentile of predictions over idle", slower, 3),
        Bar("95th percentile of /healthz in ms", record["healthz_p95_ms"], 50),
        Bar("wrong replies", record["wrong"], 0),
    ]


HEADER = (
    f"{'contender':<10}{'offered':>12}{'rps':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    f"{'200':>6}{'503':>6}{'late':>6}{'error':>6}{'wrong':>6}{'CPU ms':>8}{'Ray ms':>8}"
    f"{'client':>8}{'lag ms':>8}"
)


def row(cell: Cell) -> str:
    """A line of the table under :data:`HEADER`."""
    offered = f"{cell.connections} at once" if cell.offered is None else f"{cell.offered:.1f}/s"
    return (
        f"{cell.contender:<10}{offered:>12}{cell.rps:>8.1f}{cell.p50_ms:>9.1f}{cell.p95_ms:>9.1f}"
        f"{cell.p99_ms:>9.1f}{cell.ok:>6}{cell.rejected:>6}{cell.gave_up:>6}{cell.errors:>6}"
        f"{cell.wrong:>6}{cell.cpu_ms:>8.2f}{cell.cluster_cpu_ms:>8.2f}{cell.client_cpu_ms:>8.2f}"
        f"{cell.lag_ms:>8.1f}"
    )
