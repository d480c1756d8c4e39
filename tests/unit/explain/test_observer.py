"""What an engine tells of its work, counted by hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import pytest
from support.engines import CountingNetwork, Waiting, held, job_of, small_network, submitted

from ier_ray.errors import DeadlineError
from ier_ray.explain import AnytimeExplainer, RegionTree
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.engine import Engine, Failed, Job, Observer, Outcome, SharedNetwork
from ier_ray.explain.evaluators import log_odds


@dataclass
class Recorder(Observer):
    """Keeps what it hears."""

    batches: list[tuple[str, int, int]] = field(default_factory=list)
    batch_s: list[tuple[float, float]] = field(default_factory=list)
    known: list[tuple[int, int]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    levels: list[tuple[int, float]] = field(default_factory=list)
    ends: list[tuple[Outcome, float, float]] = field(default_factory=list)

    def batch_scored(
        self,
        network: SharedNetwork,
        *,
        rows: int,
        explanations: int,
        seconds: float,
        predicted_s: float,
    ) -> None:
        self.batches.append((network.name, rows, explanations))
        self.batch_s.append((seconds, predicted_s))

    def rows_known(self, job: Job, *, repeated: int, deepening: int) -> None:
        self.known.append((repeated, deepening))

    def rows_late(self, job: Job, rows: int) -> None:
        self.late.append(rows)

    def level_finished(self, job: Job, level: int, seconds: float) -> None:
        self.levels.append((level, seconds))

    def ended(self, job: Job, outcome: Outcome, *, seconds: float, predicted_s: float) -> None:
        self.ends.append((outcome, seconds, predicted_s))

    @property
    def repeated(self) -> int:
        return sum(repeated for repeated, _ in self.known)

    @property
    def deepening(self) -> int:
        return sum(deepening for _, deepening in self.known)

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for outcome, *_ in self.ends]


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(heard: Recorder) -> Iterator[Engine]:
    running = Engine(observer=heard)
    yield running
    running.stop()


@pytest.fixture
def network() -> CountingNetwork:
    return CountingNetwork(small_network(), places=4, name="ier")


def rows_of(depth: int) -> int:
    """Masked images of a full tree: of both contexts, two for each region but those they share."""
    return len(Plan.of(RegionTree.halving(16, 16, depth=depth), "both"))


def test_a_tree_of_one_level_is_four_rows_in_two_levels(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    """The image, the baseline, and each half alone, which is the other one hidden."""
    (waiting,) = submitted(engine, [job_of(network, AnytimeExplainer(1))])
    assert waiting.done().spent.rows == 4
    assert sum(rows for _, rows, _ in heard.batches) == 4
    assert {(name, explanations) for name, _, explanations in heard.batches} == {("ier", 1)}
    assert [level for level, _ in heard.levels] == [0, 1]
    assert heard.outcomes == ["done"]
    assert (heard.known, heard.late) == ([], [])


def test_rows_of_batches_are_those_that_the_network_scored(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    jobs = [job_of(network, AnytimeExplainer(4), image=image) for image in range(3)]
    found = [each.done().spent.rows for each in submitted(engine, jobs)]
    assert found == [rows_of(4)] * 3
    assert [rows for _, rows, _ in heard.batches] == [sum(each) for each in network.batches]
    assert [count for *_, count in heard.batches] == [len(each) for each in network.batches]
    assert all(seconds > 0 and predicted > 0 for seconds, predicted in heard.batch_s)
    assert heard.outcomes == ["done"] * 3


def test_times_of_levels_grow_up_to_that_of_the_whole(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    job = job_of(network, AnytimeExplainer(4))
    before, began = engine.seconds(network, job.macs), time.monotonic()
    submitted(engine, [job])[0].done()
    took = time.monotonic() - began
    ((_, seconds, predicted_s),) = heard.ends
    assert [level for level, _ in heard.levels] == [0, 1, 2, 3, 4]
    times = [each for _, each in heard.levels]
    assert times[0] > 0
    assert times == sorted(times)
    assert times[-1] <= seconds <= took
    assert predicted_s == before


def test_levels_that_are_refined_later_are_told_once(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    submitted(engine, [job_of(network, AnytimeExplainer(3, trees=4))])[0].done()
    assert [level for level, _ in heard.levels] == [0, 1, 2, 3]


def test_known_rows_are_of_equal_or_of_other_settings(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    shallow = job_of(network, AnytimeExplainer(3))
    submitted(engine, [shallow])[0].done()
    assert (heard.repeated, heard.deepening) == (0, 0)
    submitted(engine, [replace(shallow, key=(0, AnytimeExplainer(3), shallow.score))])[0].done()
    assert (heard.repeated, heard.deepening) == (rows_of(3), 0)
    submitted(engine, [job_of(network, AnytimeExplainer(5))])[0].done()
    assert (heard.repeated, heard.deepening) == (rows_of(3), rows_of(3))
    submitted(engine, [job_of(network, AnytimeExplainer(5), score=log_odds)])[0].done()
    assert (heard.repeated, heard.deepening) == (rows_of(3), rows_of(3) + rows_of(5))
    submitted(engine, [job_of(network, AnytimeExplainer(3), image=1)])[0].done()
    assert sum(rows for _, rows, _ in heard.batches) == rows_of(5) + rows_of(3)
    assert (heard.repeated, heard.deepening) == (rows_of(3), rows_of(3) + rows_of(5))


def test_rows_that_are_computed_after_a_cancel_are_late(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    inside, go = held(network)
    ticket = engine.submit(job_of(network, AnytimeExplainer(6)), Waiting())
    assert inside.wait(60)
    assert heard.outcomes == []
    ticket.cancel()
    assert heard.outcomes == ["cancelled"]
    go.set()
    submitted(engine, [job_of(network, AnytimeExplainer(0), image=1)])[0].done()
    assert heard.late == network.batches[0]
    assert heard.outcomes == ["cancelled", "done"]


def test_a_passed_deadline_is_no_cancellation(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    network.before_put = lambda: time.sleep(0.2)
    waiting = Waiting()
    engine.submit(job_of(network, AnytimeExplainer(6)), waiting, deadline=time.monotonic() + 0.1)
    found = waiting.answer()
    assert isinstance(found, Failed)
    assert isinstance(found.error, DeadlineError)
    engine.stop()
    assert heard.outcomes == ["deadline"]


def test_an_engine_that_is_stopped_cancels(
    engine: Engine, network: CountingNetwork, heard: Recorder
) -> None:
    inside, go = held(network)
    (waiting,) = submitted(engine, [job_of(network, AnytimeExplainer(3))])
    assert inside.wait(60)
    threading.Timer(0.1, go.set).start()
    engine.stop()
    assert isinstance(waiting.updates[0], Failed)
    assert heard.outcomes == ["cancelled"]
    assert heard.levels == []


REQUEST: ContextVar[str] = ContextVar("request")


class Requests(logging.Handler):
    """Keeps messages with the request in whose context they were logged, as Serve's filter does."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info
        self.lines.append((REQUEST.get("none"), f"{record.getMessage()}: {record.exc_info[1]}"))


@pytest.fixture
def log() -> Iterator[Requests]:
    handler, logger = Requests(), logging.getLogger("ier_ray")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize("step", ["scored", "planned"])
def test_a_failure_is_logged_in_the_context_of_each_request_that_waits(
    engine: Engine, network: CountingNetwork, heard: Recorder, log: Requests, step: str
) -> None:
    job = job_of(network, AnytimeExplainer(3))
    may = threading.Event()

    def fail(*_: object) -> None:
        assert may.wait(60)
        raise RuntimeError("no")

    if step == "scored":
        network.before = fail
        doing = "its masked images were scored"
    else:
        job = replace(job, demands=fail)  # type: ignore[arg-type] # it gives nothing
        doing = "it was planned"
    waiting = [Waiting(), Waiting()]
    for name, each in zip(("first", "second"), waiting, strict=True):
        REQUEST.set(name)
        engine.submit(job, each)
    REQUEST.set("another")
    may.set()
    assert all(isinstance(each.answer(), Failed) for each in waiting)
    expected = f"an explanation failed while {doing}: no"
    assert log.lines == [("first", expected), ("second", expected)]
    assert heard.outcomes == ["failed"]
