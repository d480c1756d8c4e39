"""Explanations of several users at once, in common batches of masked images.

Read the files in this order: explaining, fairness, shared, engine.
"""

from ier_ray.explain.engine.engine import Engine, Ticket
from ier_ray.explain.engine.explaining import Done, Failed, Job, Lend, Level, Scored, Spent, Update
from ier_ray.explain.engine.shared import SharedNetwork

__all__ = [
    "Done",
    "Engine",
    "Failed",
    "Job",
    "Lend",
    "Level",
    "Scored",
    "SharedNetwork",
    "Spent",
    "Ticket",
    "Update",
]
