"""Contenders under load: the same loads for each, in alternating rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.cells import Cell, measure
from serving.contenders import BARE, ONE_HOP, OURS, Server, bare_server, serve_applications
from serving.load import Load
from serving.subject import Subject

IDLE, BUSY, TWICE = 0.1, 0.9, 2.0
"""Rates of the open loops that figures are reported of, as shares of the contender's maximum."""


@dataclass(frozen=True)
class Plan:
    """The loads of a round."""

    rounds: int
    seconds: float
    """Length of each load."""
    connections: tuple[int, ...]
    """Of the closed loops, of which the fastest is the contender's maximum."""
    shares: tuple[float, ...]
    """Rates of the open loops, as shares of the maximum."""
    patience: float
    """Seconds that the client waits after the last arrival."""


@dataclass(frozen=True)
class Turn:
    """What one contender did in one round."""

    contender: str
    closed: tuple[Cell, ...]
    open: dict[float, Cell]
    """By the share of the maximum that was offered."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All loads."""
        return (*self.closed, *self.open.values())

    @property
    def maximum(self) -> Cell:
        """The closed loop with the most replies per second."""
        return max(self.closed, key=lambda cell: cell.rps)


def turn(server: Server, contender: str, subject: Subject, plan: Plan, seed: int) -> Turn:
    """Warm up, find the maximum, and offer shares of it.

    Raises:
        SystemExit: when the contender answers nothing.
    """
    server.wait_until_ready(contender, subject.images[0])
    # The first batch of each size is slow: the warm-up has all sizes.
    warm_up = Load(None, plan.seconds / 3, connections=max(plan.connections))
    measure(server, contender, subject, warm_up)
    closed, shares = [], {}
    for count in plan.connections:
        load = Load(None, plan.seconds, connections=count, patience=plan.patience)
        closed.append(measure(server, contender, subject, load))
    maximum = max(cell.rps for cell in closed)
    if maximum == 0:
        raise SystemExit(f"{contender} answered no request of {closed}")
    for share in plan.shares:
        load = Load(share * maximum, plan.seconds, seed=seed, patience=plan.patience)
        shares[share] = measure(server, contender, subject, load)
    return Turn(contender, tuple(closed), shares)


def rounds(subject: Subject, plan: Plan, directory: Path) -> Iterator[Turn]:
    """All turns. Each round has the order of the last reversed.

    Ours and the one-hop application share a cluster, which is down while the bare server runs.
    """
    servers = ((serve_applications, (OURS, ONE_HOP)), (bare_server, (BARE,)))
    for number in range(plan.rounds):
        step = -1 if number % 2 else 1
        for start, contenders in servers[::step]:
            with start(subject.checkpoint, subject.threads, directory) as server:
                for contender in contenders[::step]:
                    yield turn(server, contender, subject, plan, seed=number)
