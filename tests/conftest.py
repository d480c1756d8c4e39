"""A real Ray cluster for the whole session, small synthetic shards, and one trained run."""

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
    RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="30",
)

from collections.abc import Iterator

import pytest
import ray
from support.runs import SAMPLES, SIZE, tiny_settings

from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import LayoutSettings, ingest
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Five logical CPUs, so that two training workers never starve the readers."""
    ray.init("local", num_cpus=5, object_store_memory=512 * 2**20, logging_level="ERROR")
    connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shards(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shard set of each domain, several files and row groups each."""
    root = tmp_path_factory.mktemp("shards")
    source = SyntheticSource(samples=SAMPLES, size=SIZE, seed=3)
    layout = LayoutSettings(seed=3, rows_per_shard=70, rows_per_group=20)
    return {
        domain: ingest(source, domain, f"{root}/{domain}", scheme=FOUR, layout=layout).location
        for domain in ("fer", "ier")
    }


@pytest.fixture(scope="session")
def trained(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One finished run of two workers."""
    return run_training(tiny_settings(shards, tmp_path_factory.mktemp("runs")))
