"""Selection criteria: what they read, and that label-free runs read no IER label anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from support.runs import local_streams, tiny_settings

from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.evaluation import criteria
from ier_ray.inference import Recognizer
from ier_ray.training.checkpoint import export_checkpoint, read_checkpoint_manifest
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.selection import CRITERIA, label_free_scores
from ier_ray.training.settings import TrainSettings

LABEL_FREE = ("fer_accuracy", "fer_loss", "entropy", "information", "nuclear_norm",
              "neighborhood", "last")  # fmt: skip


def trained(settings: TrainSettings, directory: Path) -> Path:
    """A run in this process from shards to the exported checkpoint, with nothing left out."""
    torch.set_num_threads(1)
    fer, ier = (
        SplitIndex.read(ShardSet.open(settings.data.location(domain)), settings.split_plan(domain))
        for domain in settings.domains
    )
    streams = JointStreams(
        fer,
        ier,
        settings.preprocessing,
        batch_size=16,
        seed=settings.seed,
        balance={domain: settings.class_balance(domain) for domain in ("fer", "ier")},
    )
    train(settings, streams, FOUR, LocalContext(directory))
    return Path(export_checkpoint(str(directory / "last"), str(directory / "best")))


def with_noise_labels(location: str, copy: Path) -> str:
    """A copy of a shard set in which each label was replaced by a random one, and nothing else."""
    shutil.copytree(location, copy)
    generator = np.random.default_rng(0)
    for file in sorted(copy.glob("shards/*.parquet")):
        table, rows = pq.read_table(file), pq.read_metadata(file).row_group(0).num_rows
        noise = generator.choice(FOUR.classes, len(table)).tolist()
        place = table.column_names.index("label")
        pq.write_table(table.set_column(place, "label", pa.array(noise)), file, row_group_size=rows)
    return str(copy)


@pytest.mark.parametrize("criterion", [None, "information", "last"])
@pytest.mark.parametrize("rule", ["folds", "inner"])
def test_without_ier_supervision_noise_labels_give_the_same_checkpoint_bitwise(
    criterion: str | None, rule: str, unbalanced: dict[str, str], tmp_path: Path
) -> None:
    noise = with_noise_labels(unbalanced["ier"], tmp_path / "noise")
    exported = []
    for name, ier in (("true", unbalanced["ier"]), ("noise", noise)):
        settings = tiny_settings(
            {"fer": unbalanced["fer"], "ier": ier},
            tmp_path,
            loss={"supervision": "fer", "balance": 0.0},
            schedule={"epochs": 2, "warmup_epochs": 1, "criterion": criterion},
            data__split=rule,
        )
        exported.append(trained(settings, tmp_path / name))
    first, second = exported
    names = sorted(file.name for file in first.iterdir())
    assert names == ["manifest.json", "model.safetensors", "seen.parquet"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_with_ier_supervision_they_do_not(unbalanced: dict[str, str], tmp_path: Path) -> None:
    noise = with_noise_labels(unbalanced["ier"], tmp_path / "noise")
    weights = [
        (trained(tiny_settings(unbalanced | {"ier": ier}, tmp_path), tmp_path / name)
         / "model.safetensors").read_bytes()
        for name, ier in (("true", unbalanced["ier"]), ("noise", noise))
    ]  # fmt: skip
    assert weights[0] != weights[1]


def test_logits_that_are_not_finite_have_no_score() -> None:
    """They are told as divergence; a singular value decomposition would raise its own error."""
    found = label_free_scores(np.array([[0.0, np.inf], [np.nan, 1.0]]))
    assert list(found) == ["entropy", "information", "nuclear_norm", "neighborhood"]
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_score_is_that_of_the_saved_network_on_the_validation_rows(
    criterion: str, shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(
        shards, tmp_path, schedule={"epochs": 1, "warmup_epochs": 1, "criterion": criterion}
    )
    exported = str(trained(settings, tmp_path))
    manifest = read_checkpoint_manifest(exported)
    assert manifest.criterion == criterion
    recognizer = Recognizer.load(exported, device="cpu")

    def outputs(domain: Any) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(local_streams(shards).validation(domain))
        pixels = np.concatenate([batch.images.numpy() for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        probabilities = recognizer.probabilities(pixels, domain=domain)
        return torch.from_numpy(np.log(probabilities)), labels

    logits, labels = outputs("fer" if criterion.startswith("fer") else "ier")
    expected = {
        "accuracy": float((logits.argmax(1) == labels).double().mean()),
        "loss": -float(F.cross_entropy(logits, labels)),
        "entropy": criteria.negative_entropy(logits.numpy()),
        "information": criteria.mutual_information(logits.numpy()),
        "norm": criteria.nuclear_norm(logits.numpy()),
        "neighborhood": criteria.soft_neighborhood_density(logits.numpy()),
        "last": 1.0,
    }[criterion.rpartition("_")[2]]
    assert manifest.score == pytest.approx(expected, rel=1e-5)


def test_defaults_by_supervision(shards: dict[str, str], tmp_path: Path) -> None:
    assert tiny_settings(shards, tmp_path).criterion == "ier_accuracy"
    free = tiny_settings(shards, tmp_path, loss={"supervision": "fer", "balance": 0.0})
    assert free.criterion == "fer_accuracy"
    assert (free.class_balance("fer"), free.class_balance("ier")) == (1.0, 0.0)
    assert not free.split_plan("ier").reads_labels


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_criterion_that_needs_ier_labels_is_refused_where_they_are_forbidden(
    criterion: str, shards: dict[str, str], tmp_path: Path
) -> None:
    def free() -> TrainSettings:
        return tiny_settings(
            shards,
            tmp_path,
            loss={"supervision": "fer", "balance": 0.0},
            schedule={"criterion": criterion},
        )

    if criterion in LABEL_FREE:
        assert free().criterion == criterion
        return
    with pytest.raises(
        ValidationError,
        match=rf"schedule\.criterion {criterion} reads IER labels, .* use one of fer_accuracy, ",
    ):
        free()


def test_mixing_labeled_ier_images_is_refused_where_labels_are_forbidden(
    shards: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match=r"data\.mix \(0\.4\) trains FER on labeled IER"):
        tiny_settings(shards, tmp_path, loss={"supervision": "fer", "balance": 0.0}, data__mix=0.4)
