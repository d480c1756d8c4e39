"""The pool gives what one process gives, also when a worker dies."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from ier_ray.cluster.explain_pool import (
    KEPT_IMAGES,
    ExplainPool,
    ExplainRequest,
    ExplainWorker,
)
from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.images import encode_png
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import NamedImage, images_from_files, images_from_shards
from ier_ray.data.shards import ShardSet
from ier_ray.emotions import FOUR
from ier_ray.errors import CancelledError, SettingsError
from ier_ray.explain import Evaluator, Masking
from ier_ray.explain.rendering import from_npz
from ier_ray.explain.sheets import PANEL, THUMBNAIL
from ier_ray.explained_images import ENDINGS
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer

SETTINGS = ExplainerSettings(depth=5)
SMALL = Preprocessing(32)


@pytest.fixture(scope="module")
def images(shards: dict[str, str]) -> list[NamedImage]:
    return images_from_shards(
        ShardSet.open(shards["ier"]), per_class=1, fold=0, preprocessing=Preprocessing(32)
    )


@pytest.fixture(scope="module")
def pool(trained: TrainResult) -> Iterator[ExplainPool]:
    pool = ExplainPool.start(trained.checkpoint, size=2)
    yield pool
    pool.stop()


def serial(trained: TrainResult, image: NamedImage, settings: ExplainerSettings) -> np.ndarray:
    evaluator = Recognizer.load(trained.checkpoint).evaluator(image.pixels, settings)
    found = settings.explainer().explain(evaluator)
    return found.credits


@pytest.mark.parametrize("contexts", ["absent", "present", "both"])
def test_pool_equals_serial(
    pool: ExplainPool, trained: TrainResult, images: list[NamedImage], contexts: str
) -> None:
    settings = ExplainerSettings.model_validate({"depth": 5, "contexts": contexts})
    found = pool.explain(ExplainRequest(images[0].pixels, settings, "ier"))
    np.testing.assert_allclose(found.credits, serial(trained, images[0], settings), atol=1e-6)
    assert found.inference == "incremental"


@pytest.mark.parametrize(
    "options",
    [
        {"variant": "proportional", "contexts": "present", "tolerance": 0.01, "depth": 8},
        {"budget": 40},  # fewer than the tree has
        {"depth": 3, "budget": 60},  # more: coalitions of any regions
        {"depth": 4, "trees": 3, "first_axis": "both"},
    ],
)
def test_pool_equals_serial_with_any_effort(
    pool: ExplainPool, trained: TrainResult, images: list[NamedImage], options: dict[str, Any]
) -> None:
    settings = ExplainerSettings.model_validate({"depth": 5} | options)
    found = pool.explain(ExplainRequest(images[0].pixels, settings, "ier"))
    np.testing.assert_allclose(found.credits, serial(trained, images[0], settings), atol=1e-5)
    assert found.evaluations <= (settings.budget or 510)
    assert (found.deviations is not None) == (settings.budget == 60)


def test_workers_keep_the_latest_images(
    trained: TrainResult, images: list[NamedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image's activations are computed once for all its jobs, and not kept for ever."""
    worker, built = ExplainWorker(trained.checkpoint), []
    original = Recognizer.evaluator

    def count(self: Recognizer, *args: Any, **options: Any) -> Evaluator:
        built.append(1)
        return original(self, *args, **options)

    monkeypatch.setattr(Recognizer, "evaluator", count)
    masking = Masking(np.array([[0, 4, 0, 4]]), np.array([True]))
    request = ExplainRequest(images[0].pixels, SETTINGS, "ier")
    for name in ["first", "first", *(f"other {n}" for n in range(KEPT_IMAGES - 1)), "first"]:
        worker.score(request, name, masking)
    assert len(built) == KEPT_IMAGES
    worker.score(request, "one too many", masking)
    worker.score(request, "first", masking)  # used more lately than the one that went
    worker.score(request, "other 0", masking)
    assert len(built) == KEPT_IMAGES + 2


def test_a_dead_worker_changes_nothing(
    pool: ExplainPool, trained: TrainResult, images: list[NamedImage]
) -> None:
    ray.kill(pool.workers[0], no_restart=False)
    found = pool.explain(ExplainRequest(images[1].pixels, SETTINGS, "ier"))
    np.testing.assert_allclose(found.credits, serial(trained, images[1], SETTINGS), atol=1e-6)


def test_low_precision_says_how_far_off_it_is(
    pool: ExplainPool, trained: TrainResult, images: list[NamedImage]
) -> None:
    settings = ExplainerSettings(depth=5, precision="bfloat16", baseline="#404040")
    found = pool.explain(ExplainRequest(images[0].pixels, settings, "ier"))
    exact = serial(trained, images[0], settings.model_copy(update={"precision": "float32"}))
    error = np.abs(found.credits - exact).max()
    assert 1e-6 < error < 0.05  # eight bits of precision
    stated = re.search(r"^incremental; in bfloat16, .* off by up to (\S+)$", found.inference)
    assert stated is not None
    whole = np.abs(found.credits[0] - exact[0]).max()
    assert float(stated[1]) >= whole / 2 - 1e-4  # of the two scores whose difference it is


def test_a_cancelled_explanation_ends_and_the_pool_goes_on(
    pool: ExplainPool, trained: TrainResult, images: list[NamedImage]
) -> None:
    settings = ExplainerSettings(depth=10, tolerance=1e-9)  # a round of jobs for each level
    request, asked = ExplainRequest(images[0].pixels, settings, "ier"), []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 4

    with pytest.raises(CancelledError, match="the explanation was cancelled"):
        pool.explain(request, cancelled=cancelled)
    assert len(asked) == 4  # none of the ten levels after
    found = pool.explain(ExplainRequest(images[1].pixels, SETTINGS, "ier"))
    np.testing.assert_allclose(found.credits, serial(trained, images[1], SETTINGS), atol=1e-6)


def test_a_cancelled_job_ends_before_its_next_batch(
    trained: TrainResult, images: list[NamedImage]
) -> None:
    worker = ExplainWorker(trained.checkpoint)
    masking = Masking(np.array([[0, 4, 0, 4]]), np.array([True]))
    request = ExplainRequest(images[0].pixels, SETTINGS, "ier")
    worker.cancel("unwanted")
    assert worker.score(request, "unwanted", masking) is None
    assert worker.score(request, "wanted", masking) is not None


def test_scores_are_the_networks_probabilities(
    trained: TrainResult, pool: ExplainPool, images: list[NamedImage]
) -> None:
    pixels = images[2].pixels
    found = pool.explain(ExplainRequest(pixels, SETTINGS, "ier"))
    expected = Recognizer.load(trained.checkpoint).probabilities(pixels[None])[0]
    np.testing.assert_allclose(found.full, expected, atol=1e-6)
    np.testing.assert_allclose(
        found.credits[found.tree.leaves].sum(0), found.full - found.empty, atol=1e-12
    )


def test_explained_images_become_five_files_each(
    trained: TrainResult, images: list[NamedImage], tmp_path: Path
) -> None:
    explained = explain_images(
        trained.checkpoint, images[:2], str(tmp_path), scheme=FOUR, settings=SETTINGS, target="hate"
    )
    for image, record in zip(images, explained, strict=False):
        assert record.explanation.target == "hate"
        assert record.cue_mass is not None
        sheet = Image.open(tmp_path / f"{image.name}.png")
        assert (sheet.width > 2 * PANEL[0], sheet.height > PANEL[0]) == (True, True)
        drawn = Image.open(io.BytesIO(image.encoded or b""))
        assert Image.open(tmp_path / f"{image.name}-overlay.png").size == drawn.size
        assert Image.open(tmp_path / f"{image.name}-levels.png").width > 4 * THUMBNAIL
        values = json.loads((tmp_path / f"{image.name}.json").read_text())
        total = sum(leaf["value"] for leaf in values["leaves"])
        assert len(values["leaves"]) == 32
        assert values["inference"] == "incremental"
        assert total == pytest.approx(values["full"] - values["empty"], abs=1e-12)
        stored = from_npz((tmp_path / f"{image.name}.npz").read_bytes())
        np.testing.assert_array_equal(stored.density_map(2), record.density)
    with pytest.raises(SettingsError, match=r"target must be one of .* got 'awe'"):
        explain_images(
            trained.checkpoint, images, str(tmp_path), scheme=FOUR, settings=SETTINGS, target="awe"
        )


def test_pictures_are_shown_in_their_own_proportions_under_their_own_names(
    trained: TrainResult, tmp_path: Path
) -> None:
    """A file is read again for its picture; a sample of a shard set has its file's name."""
    drawn = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "My cat (1).png").write_bytes(encode_png(drawn))
    files = images_from_files([str(tmp_path / "in" / "My cat (1).png")], preprocessing=SMALL)
    sample = NamedImage("set/images/My cat (2).jpg", files[0].pixels, encoded=encode_png(drawn))
    explained = explain_images(
        trained.checkpoint,
        [*files, sample],
        str(tmp_path / "out"),
        scheme=FOUR,
        settings=ExplainerSettings(depth=2, trees=2),
    )
    assert [Path(each.files).name for each in explained] == ["My_cat__1_", "My_cat__2_"]
    for each in explained:
        assert Image.open(f"{each.files}-overlay.png").size == (160, 90)
        stored = from_npz(Path(f"{each.files}.npz").read_bytes())
        assert stored.forest is not None
        assert stored.forest.spread.shape == (32, 32, 4)
        leaves = json.loads(Path(f"{each.files}.json").read_text())["leaves"]
        assert all(leaf["spread"] > 0 for leaf in leaves)


def test_images_of_one_title_keep_their_own_files(
    trained: TrainResult, images: list[NamedImage], tmp_path: Path
) -> None:
    names = ("a/1.png", "b/1.png", "b/1.jpg", "c/2.png")
    given = [replace(images[0], name=name, location=None) for name in names]
    explained = explain_images(
        trained.checkpoint, given, str(tmp_path), scheme=FOUR, settings=ExplainerSettings(depth=1)
    )
    written = {f"{record.files}{ending}" for record in explained for ending in ENDINGS}
    assert {str(file) for file in tmp_path.iterdir()} == written
    assert len(written) == len(ENDINGS) * len(names)
    assert explained[3].files == f"{tmp_path}/2"
    for name, record in zip(names, explained, strict=True):
        assert json.loads(Path(f"{record.files}.json").read_text())["name"] == name


@pytest.mark.parametrize("count", [1, 3])
def test_workers_share_images_or_one_image(
    trained: TrainResult, images: list[NamedImage], tmp_path: Path, count: int
) -> None:
    explained = explain_images(
        trained.checkpoint, images[:count], str(tmp_path), scheme=FOUR, settings=SETTINGS, workers=2
    )
    assert [record.name for record in explained] == [image.name for image in images[:count]]
    for image in images[:count]:
        stored = from_npz((tmp_path / f"{image.name}.npz").read_bytes())
        np.testing.assert_allclose(stored.credits, serial(trained, image, SETTINGS), atol=1e-6)


def test_an_image_that_fails_ends_the_others_on_their_way(
    trained: TrainResult, images: list[NamedImage], tmp_path: Path
) -> None:
    wrong = replace(images[0], name="wrong", pixels=images[0].pixels[:16, :16])
    good = [replace(images[1], name=f"good{number}") for number in range(60)]
    with pytest.raises(ray.exceptions.RayTaskError):
        explain_images(
            trained.checkpoint,
            [wrong, *good],
            str(tmp_path),
            scheme=FOUR,
            settings=ExplainerSettings(depth=10),
            workers=2,
        )
    finished = list(tmp_path.glob("*.json"))  # before the failure was seen
    assert len(finished) < len(good) / 4
