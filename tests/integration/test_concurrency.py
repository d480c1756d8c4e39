"""A sweep uses the nodes that come, gives up those that go, and leaves a CPU to the readers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from support.processes import wait_for
from support.runs import ROOT

from ier_ray.serve.ports import free_port

pytestmark = pytest.mark.alone

NODE = {"object_store_memory": 100 * 2**20}
ALIVE_S = 1.0
"""A trial that has given no sign for so long does not run."""
WINDOW_S = 4.0


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """A cluster of one node, with room for a trial of one CPU and a reader."""
    head = {"num_cpus": 2, "dashboard_port": free_port(), **NODE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


class Running:
    """How many trials have run at the same time lately."""

    def __init__(self, signs: Path) -> None:
        self.signs = signs
        self.seen: deque[tuple[float, int]] = deque()

    def most(self) -> int:
        """The largest number within the window; -1 until one has passed."""
        now = time.time()
        alive = [sign for sign in self.signs.iterdir() if now - sign.stat().st_mtime < ALIVE_S]
        if self.seen and now - self.seen[-1][0] > ALIVE_S:
            self.seen.clear()  # nobody looked for a while
        self.seen.append((now, len(alive)))
        full = now - self.seen[0][0] > WINDOW_S
        while now - self.seen[0][0] > WINDOW_S:
            self.seen.popleft()
        return max(count for _, count in self.seen) if full else -1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_concurrency_follows_the_cluster(nodes: Cluster, tmp_path: Path) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()
    with (tmp_path / "log").open("w") as log:
        sweep = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/support/sweeping.py"), str(signs), "500"],
            env={**os.environ, "RAY_ADDRESS": nodes.address},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        running = Running(signs)
        wait_for(lambda: running.most() == 1, seconds=60)  # two would take the reader's CPU
        added = nodes.add_node(num_cpus=2, **NODE)
        wait_for(lambda: running.most() == 3, seconds=60)
        nodes.remove_node(added, allow_graceful=False)
        wait_for(lambda: running.most() == 1, seconds=60)
        assert sweep.poll() is None
    finally:
        sweep.kill()
        sweep.wait(30)
