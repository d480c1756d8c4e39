"""Finished runs on disk for the tests of pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.finished_runs import (
    layerwise_record,
    write_cross_validation,
    write_explanations,
    write_finished_run,
)
from support.runs import run, tiny_settings


@pytest.fixture(scope="session")
def checkpoint(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoint")
    settings = tiny_settings(shards, root, schedule={"epochs": 1, "warmup_epochs": 0})
    run(settings, shards, root / "run")
    return root / "run" / "last"


@pytest.fixture(scope="session")
def finished(
    shards: dict[str, str], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run with layers and two kinds of maps."""
    found = write_finished_run(shards, checkpoint, tmp_path_factory.mktemp("runs") / "first")
    write_explanations(shards, checkpoint, found / "explanations", depth=4)
    write_explanations(
        shards,
        checkpoint,
        found / "explanations-sharp",
        depth=6,
        variant="proportional",
        contexts="present",
    )
    (found / "layerwise").mkdir()
    (found / "layerwise" / "layerwise.json").write_text(json.dumps(layerwise_record()))
    return found


@pytest.fixture(scope="session")
def second(
    shards: dict[str, str], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Another run on the same images."""
    return write_finished_run(
        shards, checkpoint, tmp_path_factory.mktemp("others") / "second", seed=1
    )


@pytest.fixture(scope="session")
def folds(
    shards: dict[str, str], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_cross_validation(shards, checkpoint, tmp_path_factory.mktemp("folds") / "cv")
