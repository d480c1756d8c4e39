"""What both rooms share: the environment of every process, and little shard sets."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.update(
    AWS_ENDPOINT_URL=f"http://127.0.0.1:{28000 + os.getpid() % 1000}",  # for all workers
    AWS_ACCESS_KEY_ID="tester",
    AWS_SECRET_ACCESS_KEY="secret",  # noqa: S106 (of a server on loopback)
    AWS_DEFAULT_REGION="us-east-1",
    MLFLOW_DISABLE_TELEMETRY="true",
    OMP_NUM_THREADS="1",  # threads that wait for each other are slow where cores are few
    # Workers import the classes that tests define.
    PYTHONPATH=f"{Path(__file__).parent}:{Path(__file__).parent}/integration",
    RAY_AUTH_MODE="disabled",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
    RAY_TRAIN_ENABLE_PREEMPTION_WATCHER="0",  # a process less in each run
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.2",  # runs here take seconds
    RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="30",
)

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from support.browser import chromium
from support.runs import SAMPLES, SIZE
from support.shards import Unbalanced, write_domains

from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import SyntheticSource


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shard set of each domain, several files and row groups each."""
    source = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    layout = LayoutSettings(seed=3, rows_per_shard=70, rows_per_group=20)
    return write_domains(source, tmp_path_factory.mktemp("shards"), layout)


@pytest.fixture(scope="session")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shard set of each domain in which some classes are rare."""
    layout = LayoutSettings(rows_per_shard=150, rows_per_group=25)
    return write_domains(Unbalanced(), tmp_path_factory.mktemp("unbalanced"), layout)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, for pages. While it is open, an event loop runs in the main thread."""
    with chromium() as opened:
        yield opened
