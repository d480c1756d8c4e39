"""What an engine tells of its work to whoever counts it."""

from __future__ import annotations

from typing import Literal

from ier_ray.explain.engine.jobs import Job
from ier_ray.explain.engine.shared import SharedNetwork

Outcome = Literal["done", "deadline", "failed", "cancelled"]
"""How an explanation ended: finished; the deadline of all who waited passed; it failed; or all who
waited left, the engine being stopped among that."""


class Observer:
    """Hears what an engine does, and does nothing; subclasses count.

    Its methods are called from the engine's threads, some while nothing else in the engine can
    happen: they must return at once, and raise nothing.
    """

    def batch_scored(
        self,
        network: SharedNetwork,
        *,
        rows: int,
        explanations: int,
        seconds: float,
        predicted_s: float,
    ) -> None:
        """A batch was computed: its rows are masked images of so many explanations."""

    def rows_known(self, job: Job, *, repeated: int, deepening: int) -> None:
        """Rows that a job demands were scored before.

        Args:
            repeated: for the same job or an equal one.
            deepening: for jobs with other settings.
        """

    def rows_late(self, job: Job, rows: int) -> None:
        """Rows were scored for a job that nobody waited for any longer."""

    def level_finished(self, job: Job, level: int, seconds: float) -> None:
        """A level is final, so many seconds after the job was submitted."""

    def ended(self, job: Job, outcome: Outcome, *, seconds: float, predicted_s: float) -> None:
        """A job that began ended.

        Args:
            seconds: since it was submitted, waiting for others included.
            predicted_s: for it alone, by the speed when it was submitted.
        """


SILENT = Observer()
"""Counts nothing."""
