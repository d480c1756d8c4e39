"""Features extracted on the cluster, and probes of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import SIZE

from ier_ray.cluster.features import CheckpointNetwork, PretrainedNetwork, extract_features
from ier_ray.cluster.probing import probe
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.parts import SplitPlan
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import CheckpointError, DataError, SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.probe import fit_probe
from ier_ray.models import ModelSettings
from ier_ray.models.features import layer_features

TINY = ModelSettings(architecture="vgg16", image_size=SIZE, width=0.05)


@pytest.fixture(scope="module")
def ier(shards: dict[str, str]) -> ShardSet:
    return ShardSet.open(shards["ier"])


@pytest.fixture(scope="module")
def split(ier: ShardSet) -> SplitIndex:
    return SplitIndex.read(ier, SplitPlan())


def test_features_equal_those_of_this_process_in_the_order_of_the_index(
    ier: ShardSet, trained: TrainResult
) -> None:
    source = CheckpointNetwork.at(trained.checkpoint, "fer")
    reader = source.preprocessing.reader(ier.files, ier.scheme.classes)
    index = ier.index()
    chosen = np.random.default_rng(0).permutation(len(index))[:70]
    index = RowIndex(**{name: column[chosen] for name, column in vars(index).items()})
    found = extract_features(source, reader, index, layer="features.7", workers=2)
    pixels = np.concatenate([rows["image"] for rows in reader.read(index.positions)])
    inputs = source.preprocessing.inputs(torch.tensor(pixels))
    with torch.inference_mode():
        expected = layer_features(source.load(), inputs, layer="features.7")
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_probe_is_fit_chosen_and_tested_on_disjoint_parts(
    ier: ShardSet, split: SplitIndex, tmp_path: Path
) -> None:
    source = PretrainedNetwork(TINY, "imagenet", None, seed=3)
    output = f"{tmp_path}/predictions.parquet"
    result = probe(source, split, run="random", seed=3, output=output)
    parts = [split.train, split.validation, split.test]
    rows = [len(part) for part in parts]
    assert rows[1:] == [result.validation.samples, result.test.samples]
    assert (result.validation.seen, result.test.seen) == (rows[1], 0)
    kept = Predictions.read(output)
    hashes = [set(part.hash.tolist()) for part in parts]
    assert len(set.union(*hashes)) == sum(rows)
    assert set(kept.folds[kept.parts == "test"]) == {0}
    assert set(kept.folds[kept.parts == "val"]) == {1}
    assert not set(kept.folds) & set(split.train.fold)
    reader = source.preprocessing.reader(ier.files, ier.scheme.classes)
    features = [extract_features(source, reader, part) for part in parts]
    fitted = fit_probe(
        features[0], split.train.label, features[1], split.validation.label, classes=4
    )
    expected = fitted.probabilities(features[2])
    np.testing.assert_allclose(kept.probabilities[kept.parts == "test"], expected, atol=1e-5)
    assert json.dumps(asdict(result), allow_nan=False)


def test_what_cannot_be_probed_is_refused_before_work_starts(
    ier: ShardSet, split: SplitIndex, trained: TrainResult, tmp_path: Path
) -> None:
    source = CheckpointNetwork.at(trained.checkpoint, "ier")
    with pytest.raises(SettingsError, match=r"'feature\.28' .* did you mean features\.28"):
        probe(source, split, layer="feature.28", run="r", seed=0)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        CheckpointNetwork.at(f"{tmp_path}/none", "ier")
    for weights, message in (
        ("nonsense", "neither a torchvision weight name nor"),
        (f"{trained.checkpoint}/model.safetensors", "does not fit the network"),
    ):
        pretrained = PretrainedNetwork(TINY, "imagenet", weights, seed=0)
        with pytest.raises(CheckpointError, match=message):
            probe(pretrained, split, run="r", seed=0)
    moved = SplitIndex.read(ier, SplitPlan(test_fold=3))
    with pytest.raises(DataError, match=r"32 of the 32 test rows trained or selected the network"):
        probe(source, moved, run="r", seed=0)
    captions = PretrainedNetwork(
        ModelSettings(architecture="caption_bert"), "imagenet", None, seed=0
    )
    with pytest.raises(DataError, match="has no captions"):
        probe(captions, split, run="r", seed=0)
