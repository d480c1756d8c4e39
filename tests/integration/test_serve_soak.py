"""The service under mixed use for a long time, with bad inputs, clients that leave, and kills.

Two minutes; with IER_RAY_SOAK_S=1200 twenty.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from support.processes import descendants
from support.service_process import ready
from support.soak import Reference, Soak

from ier_ray.inference import Recognizer

pytestmark = pytest.mark.alone

SECONDS = float(os.environ.get("IER_RAY_SOAK_S", "120"))
KILL_EVERY_S = max(25.0, SECONDS / 20)
GROWTH = 1.05
"""Most of the memory in the last third, as a share of that in the middle third."""


@pytest.mark.timeout(SECONDS + 300)
def test_mixed_use_for_a_long_time(tmp_path: Path) -> None:
    with ready(tmp_path) as (process, url):
        reference = Reference.of(Recognizer.load(str(tmp_path / "checkpoint")))
        soak = Soak(url, reference)

        def victims(name: str) -> list[psutil.Process]:
            return descendants(f"ServeReplica:ier:{name}", of=process.pid)

        def processes() -> list[psutil.Process]:
            return descendants("ServeReplica:ier", "ServeController", "haproxy", of=process.pid)

        asyncio.run(soak.run(SECONDS, victims, processes, kill_every_s=KILL_EVERY_S))
    print(f"{soak.done} busy: {soak.busy} kills: {soak.kills} growth: {soak.growth():.3f}")  # noqa: T201
    assert soak.faults == []
    assert soak.growth() <= GROWTH
    wanted = {"predict", "explain", "stream", "image of a job", "bad request", "left a stream"}
    assert wanted <= soak.done.keys()
    assert min(soak.kills["Explainer"], soak.kills["JobKeeper"]) >= 1
