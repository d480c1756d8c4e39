"""Layer-wise scores on a cluster: as computed here, of the same images in each network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.runs import ROOT

from ier_ray.cluster.embeddings import halves, require_space
from ier_ray.cluster.evaluation import Rows, choose_rows
from ier_ray.cluster.features import CheckpointNetwork, NetworkSource, PretrainedNetwork
from ier_ray.cluster.layerwise import layerwise_scores
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.order import held_out_tasks
from ier_ray.data.streams import read_locally
from ier_ray.errors import DataError, SettingsError, StorageError
from ier_ray.layerwise.analysis import Scoring, analyze_layer
from ier_ray.layerwise.embeddings import EmbeddingFiles
from ier_ray.layerwise.record import Layerwise
from ier_ray.models.layers import default_layers, layer_outputs
from ier_ray.training.checkpoint import read_checkpoint_manifest

PER_CLASS = 5
RANDOM = "random"
LAYERS = default_layers("emotion_net")
SCORING = Scoring(3, shuffles=50)


@pytest.fixture(scope="module")
def networks(trained: TrainResult) -> dict[str, NetworkSource]:
    manifest = read_checkpoint_manifest(trained.checkpoint)
    random = PretrainedNetwork(manifest.model, manifest.normalization, None, 7, 4)
    return {"best": CheckpointNetwork.at(trained.checkpoint, "ier"), RANDOM: random}


@pytest.fixture(scope="module")
def rows(trained: TrainResult, shards: dict[str, str]) -> Rows:
    manifest = read_checkpoint_manifest(trained.checkpoint)
    return choose_rows(trained.checkpoint, manifest, shards["ier"], domain="ier", parts=["test"])


def computed(
    networks: dict[str, NetworkSource], rows: Rows, scratch: Path, **changes: Any
) -> Layerwise:
    given: dict[str, Any] = {"layers": LAYERS, "per_class": PER_CLASS, "scoring": SCORING}
    return layerwise_scores(networks, rows, random=RANDOM, scratch=str(scratch), **given | changes)


def test_scores_are_those_computed_here_image_by_image(
    networks: dict[str, NetworkSource], rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "here").mkdir()
    result = computed(networks, rows, tmp_path / "scratch", workers=2)
    assert not list((tmp_path / "scratch").iterdir())
    assert np.bincount(result.labels).tolist() == [PER_CLASS] * 4
    ids = rows.shards.described(rows.index)["sample_id"].to_pylist()
    chosen = np.isin(ids, result.sample_ids)
    assert result.sample_ids == tuple(np.array(ids)[chosen])

    source = networks["best"]
    reader = source.preprocessing.reader(rows.shards.files, result.classes)
    index = rows.index.select(chosen)
    tasks = held_out_tasks(index, rank=0, world_size=1, window=8)
    network, outputs = source.load(), []
    with torch.inference_mode():
        for batch in read_locally(reader, tasks, 1):
            inputs = source.preprocessing.inputs(torch.tensor(batch["image"]))
            outputs.append(layer_outputs(network, inputs, LAYERS))
    widths = {layer: outputs[0][layer].shape[1] for layer in LAYERS}
    files = EmbeddingFiles(tmp_path / "here", len(index), widths)
    files.create()
    for layer, expected in zip(LAYERS, result.networks["best"], strict=True):
        found = torch.cat([each[layer] for each in outputs]).half().numpy()
        files.write(layer, np.arange(len(index)), found)
        here = analyze_layer(files, layer, index.label, 4, SCORING)
        assert (expected.layer, expected.width) == (layer, widths[layer])
        np.testing.assert_allclose(expected.intersections, here.intersections, atol=5e-3)
        np.testing.assert_allclose(
            expected.separation.separations, here.separation.separations, rtol=1e-2
        )
        np.testing.assert_allclose(expected.components.explained, here.components.explained, 1e-2)


def test_the_random_network_is_one_of_its_own_by_the_seed(
    networks: dict[str, NetworkSource], rows: Rows, tmp_path: Path
) -> None:
    two = {"same": networks[RANDOM], RANDOM: networks[RANDOM]}
    result = computed(two, rows, tmp_path, layers=["features.30", "logits"])
    for first, second in zip(*result.networks.values(), strict=True):
        np.testing.assert_array_equal(first.components.scores, second.components.scores)
        assert first.probe == second.probe


def test_the_job_leaves_figures_a_table_and_a_page(
    trained: TrainResult, shards: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "jobs" / "layerwise.py"),
            *("--checkpoint", trained.last_checkpoint, trained.checkpoint, "--fer", shards["fer"]),
            *("--layers", "features.4", "classifier.0.input", "logits", "--shuffles", "20"),
            *("--output", f"{tmp_path}/layers"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["files"] == {
        kind: f"{tmp_path}/layers/layerwise.{kind}" for kind in ("json", "parquet", "html")
    }
    kept = json.loads(Path(record["files"]["json"]).read_text())
    assert kept == {name: record[name] for name in record if name != "files"}
    assert kept["random"] == "randomly initialized"
    assert list(kept["networks"]) == [
        trained.last_checkpoint,
        trained.checkpoint,
        "randomly initialized",
    ]
    rows = pq.read_table(record["files"]["parquet"]).to_pylist()
    assert len(rows) == 3 * 3 * 6
    assert "classifier.0.input" in Path(record["files"]["html"]).read_text()
    assert "classifier.0.input" in done.stderr


def test_numbers_beyond_half_precision_are_refused() -> None:
    np.testing.assert_array_equal(halves("x", torch.tensor([[-60000.0, 0.5]])), [[-60000, 0.5]])
    with pytest.raises(DataError, match=r"layer 'x' gives numbers up to 7e\+04; .* leave it out"):
        halves("x", torch.tensor([[0.0, -70000.0]]))


def test_embeddings_that_do_not_fit_on_the_disk_are_refused(tmp_path: Path) -> None:
    require_space(EmbeddingFiles(tmp_path, 10, {"x": 10}))
    with pytest.raises(
        StorageError,
        match=r"the embeddings of 10 images in 2 layers take 186264.5 GiB, and .* GiB free",
    ):
        require_space(EmbeddingFiles(tmp_path, 10, {"x": 10**13, "y": 1}))


def test_networks_of_other_settings_are_refused(
    networks: dict[str, NetworkSource], rows: Rows, tmp_path: Path
) -> None:
    manifest = read_checkpoint_manifest(networks["best"].location)  # type: ignore[attr-defined]
    other = manifest.model.model_copy(update={"width": 0.5})
    wider = PretrainedNetwork(other, manifest.normalization, None, 0, 4)
    with pytest.raises(SettingsError, match="wider is a network of other settings"):
        computed({**networks, "wider": wider}, rows, tmp_path)
