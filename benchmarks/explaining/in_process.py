"""The engine in this process, without Ray."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

from serving.report import Bar

from explaining.subject import PAIRS, Figure, Line, Subject, median_ratio
from ier_ray.data.images import Pixels
from ier_ray.explain import ExactInference, Explanation
from ier_ray.explain.engine import Done, Engine, Job, Level, SharedNetwork, Update
from ier_ray.explain.engine.shared import Logits, Portion
from ier_ray.explain.evaluators import Interrupt, never_interrupt
from ier_ray.explainer_settings import ExplainerSettings

TOGETHER = 8
"""Requests that are submitted together."""
SMALL, LARGE = ExplainerSettings(depth=4), ExplainerSettings(depth=10)
BUSY_LEVEL = 6
"""The small request comes when the large one has finished this level."""


class Running:
    """An explanation in an engine; the clock starts before its job is made."""

    def __init__(
        self, engine: Engine, subject: Subject, pixels: Pixels, settings: ExplainerSettings
    ) -> None:
        self._updates: SimpleQueue[tuple[float, Update]] = SimpleQueue()
        self._started = time.perf_counter()
        engine.submit(subject.jobs.explanation(pixels, settings), self._notify)

    def _notify(self, update: Update) -> None:
        self._updates.put((time.perf_counter() - self._started, update))

    def level(self, depth: int) -> tuple[float, Explanation]:
        """Wait for a level; returns the seconds until it was finished, and the level."""
        while True:
            seconds, update = self._updates.get()
            if not isinstance(update, Level):
                raise SystemExit(f"level {depth} was expected, but {update} came")
            if update.explanation.tree.depth >= depth:
                return seconds, update.explanation

    def whole_s(self) -> float:
        """Wait for the end; returns the seconds until it came."""
        while True:
            seconds, update = self._updates.get()
            if not isinstance(update, Level):
                explanation_of(update)
                return seconds

    def is_over(self) -> bool:
        """Whether the end has come; takes the updates so far."""
        updates = [self._updates.get()[1] for _ in range(self._updates.qsize())]
        return any(not isinstance(update, Level) for update in updates)


def explanation_of(update: Update) -> Explanation:
    """The complete result of an explanation.

    Raises:
        SystemExit: when it failed.
    """
    if not isinstance(update, Done) or not isinstance(update.result, Explanation):
        raise SystemExit(f"an explanation failed: {update}")
    return update.result


@contextmanager
def warm_engine(subject: Subject) -> Iterator[Engine]:
    """An engine that has learned the network's speed, and has seen no image that is measured."""
    engine = Engine()
    try:
        Running(engine, subject, subject.new_pixels(), SMALL).whole_s()
        yield engine
    finally:
        engine.stop()


def engine_lines(subject: Subject, rounds: int) -> Iterator[Line]:
    """All figures of one network."""
    name, images = subject.name, [subject.new_pixels() for _ in range(TOGETHER)]
    adaptive = subject.settings.model_copy(update={"budget": 2**subject.depth})
    for settings in (subject.settings, adaptive, LARGE):
        subject.jobs.explanation(images[0], settings)  # predicts the cost, once for all images
    yield from first_level(subject)
    ratio = median_ratio(
        partial(adaptive_s, subject, images, adaptive, together=False),
        partial(adaptive_s, subject, images, adaptive, together=True),
        rounds,
    )
    what = f"{TOGETHER} of budget {adaptive.budget} together over one after another"
    yield Bar(f"{name}: {what}", ratio, 1.5, at_least=True)
    ratio = median_ratio(partial(beside_s, subject), partial(alone_s, subject), PAIRS)
    yield Bar(f"{name}: depth 4 beside depth 10 over alone", ratio, 3)
    scored, new = deeper_rows(subject)
    yield Figure(f"{name}: rows of depth 8 after depth 6, scored", scored)
    yield Figure(f"{name}: rows of depth 8 after depth 6, new", new)
    yield Bar(f"{name}: rows scored again", abs(scored - new), 0)
    with warm_engine(subject) as engine:
        ratio = median_ratio(partial(engine_s, engine, subject), partial(serial_s, subject), PAIRS)
    yield Figure(f"{name}: engine over serial explainer", ratio)


def first_level(subject: Subject) -> Iterator[Line]:
    """Seconds to the first level over those of the whole explanation."""
    with warm_engine(subject) as engine:
        ratios, wholes = [], []
        for _ in range(PAIRS):
            running = Running(engine, subject, subject.new_pixels(), subject.settings)
            seconds, level = running.level(0)
            wholes.append(running.whole_s())
            ratios.append(seconds / wholes[-1])
    yield Figure(f"{subject.name}: seconds at depth {subject.depth}", statistics.median(wholes))
    what = f"level {level.tree.depth}, {len(level.tree.leaves)} region"
    yield Bar(f"{subject.name}: first level ({what}) over whole", statistics.median(ratios), 0.08)


def adaptive_s(
    subject: Subject, images: Sequence[Pixels], settings: ExplainerSettings, *, together: bool
) -> float:
    """Seconds of several explanations in a new engine."""
    with warm_engine(subject) as engine:
        started = time.perf_counter()
        if together:
            for running in [Running(engine, subject, image, settings) for image in images]:
                running.whole_s()
        else:
            for image in images:
                Running(engine, subject, image, settings).whole_s()
        return time.perf_counter() - started


def alone_s(subject: Subject) -> float:
    """Latency of a small request in an idle engine, in seconds."""
    pixels = subject.new_pixels()
    with warm_engine(subject) as engine:
        return Running(engine, subject, pixels, SMALL).whole_s()


def beside_s(subject: Subject) -> float:
    """Latency of a small request beside a large one, in seconds."""
    small, large = subject.new_pixels(), subject.new_pixels()
    with warm_engine(subject) as engine:
        running = Running(engine, subject, large, LARGE)
        running.level(BUSY_LEVEL)
        seconds = Running(engine, subject, small, SMALL).whole_s()
        if running.is_over():
            raise SystemExit("the large request ended before the small one")
        return seconds


def engine_s(engine: Engine, subject: Subject) -> float:
    """Seconds of the explanation of a new image by an engine."""
    return Running(engine, subject, subject.new_pixels(), subject.settings).whole_s()


def serial_s(subject: Subject) -> float:
    """Seconds of the explanation of a new image without an engine."""
    pixels = subject.new_pixels()
    started = time.perf_counter()
    evaluator = subject.recognizer.evaluator(pixels, subject.settings)
    subject.settings.explainer().explain(evaluator)
    return time.perf_counter() - started


class CountingNetwork(SharedNetwork):
    """Counts the masked images that it scores."""

    rows = 0

    def logits(
        self, portions: Sequence[Portion], *, interrupt: Interrupt = never_interrupt
    ) -> list[Logits]:
        """As the base class."""
        self.rows += sum(len(portion.masking) for portion in portions)
        return super().logits(portions, interrupt=interrupt)


def deeper_rows(subject: Subject) -> tuple[int, int]:
    """Rows that depth 8 scores after depth 6 of the same image, and rows that are new in it."""
    pixels = subject.new_pixels()
    jobs = [subject.jobs.explanation(pixels, ExplainerSettings(depth=depth)) for depth in (6, 8)]
    prepared = ExactInference.of(subject.recognizer.networks["ier"])
    network = CountingNetwork(prepared, jobs[0].image, jobs[0].baseline, places=1)
    engine = Engine()
    try:
        found = [explained(engine, replace(job, network=network)) for job in jobs]
    finally:
        engine.stop()
    evaluations = [each.evaluations for each in found]
    return network.rows - evaluations[0], evaluations[1] - evaluations[0]


def explained(engine: Engine, job: Job) -> Explanation:
    """The result of a job."""
    updates: SimpleQueue[Update] = SimpleQueue()
    engine.submit(job, updates.put)
    while isinstance(update := updates.get(), Level):
        pass
    return explanation_of(update)
