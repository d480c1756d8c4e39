"""Explanations of several users at once, in common batches of masked images.

Read the files in this order: jobs, explaining, fairness, shared, engine; observer says what is
told of it all.
"""

from ier_ray.explain.engine.engine import Engine, Ticket
from ier_ray.explain.engine.explaining import Done, Failed, Level, Scored, Spent, Update
from ier_ray.explain.engine.jobs import Job, Lend
from ier_ray.explain.engine.observer import SILENT, Observer, Outcome
from ier_ray.explain.engine.shared import SharedNetwork

__all__ = [
    "SILENT",
    "Done",
    "Engine",
    "Failed",
    "Job",
    "Lend",
    "Level",
    "Observer",
    "Outcome",
    "Scored",
    "SharedNetwork",
    "Spent",
    "Ticket",
    "Update",
]
