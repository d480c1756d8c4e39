"""The same trials as a sweep of ours and as bare functions under Ray Tune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["ours", "bare"]
SIDES: tuple[Side, Side] = ("ours", "bare")


@dataclass(frozen=True)
class Lap:
    """One sweep of one side."""

    seconds: float
    """From the start to the end of ``fit()``."""
    driver_mib: float
    """What the driver's memory grew by at most."""
    scores: list[float]
    """Of the last epoch of each trial, in the order of their settings."""
