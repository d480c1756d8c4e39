"""A real Ray cluster for the whole session, and one trained run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from support.jobs import Job, kill
from support.runs import EPOCHS, tiny_settings
from support.sweeps import sweep

from ier_ray.cluster.connection import connect
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.cluster.tuner import SweepResult, run_sweep
from ier_ray.training.checkpoint import load_checkpoint, read_seen_rows, save_checkpoint


@pytest.fixture(autouse=True)
def package_logger() -> Iterator[None]:
    """What a worker's code that a test calls here does to the package's logger ends with it."""
    logger = logging.getLogger("ier_ray")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Five logical CPUs, so that two training workers never starve the readers."""
    ray.init("local", num_cpus=5, object_store_memory=512 * 2**20, logging_level="ERROR")
    connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shards(cluster: None, shards: dict[str, str]) -> dict[str, str]:
    """What reads them here does so on the cluster."""
    return shards


@pytest.fixture(scope="session")
def unbalanced(cluster: None, unbalanced: dict[str, str]) -> dict[str, str]:
    """What reads them here does so on the cluster."""
    return unbalanced


@pytest.fixture(scope="session")
def trained(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One finished run of two workers, which nothing disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    return run_training(tiny_settings(shards, runs, schedule__epochs=EPOCHS))


@pytest.fixture(scope="session")
def swept(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """One finished sweep, which nothing disturbed."""
    return run_sweep(sweep(shards, tmp_path_factory.mktemp("sweeps")))


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    """Jobs that a test started, ended with it."""
    started: list[Job] = []
    yield started
    for job in started:
        kill(job)


@pytest.fixture(scope="session")
def checkpoints(
    trained: TrainResult, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The same run's checkpoint twice, the second with other weights."""
    directory = tmp_path_factory.mktemp("checkpoints")
    shutil.copytree(trained.checkpoint, directory / "first")
    model, manifest = load_checkpoint(trained.checkpoint)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + torch.randn_like(parameter) / 4)
    seen = read_seen_rows(trained.checkpoint)
    save_checkpoint(directory / "second", model, manifest, {}, seen)
    return directory / "first", directory / "second"
