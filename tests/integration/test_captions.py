"""Baseline 4, with tiny models of random weights: no download."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from support.captions import CUES, SPECIAL, WORDS, write_caption_models
from support.damage import with_damaged_images, with_damaged_pages
from support.runs import SIZE, tiny_settings
from support.streams import named

from ier_ray.cluster.captions import CaptionModels, CaptionReport, caption_shards
from ier_ray.cluster.evaluation import choose_rows
from ier_ray.cluster.explainer import explain_images
from ier_ray.cluster.failures import for_the_user
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.data.captions import CaptionReader
from ier_ray.data.images import decode_rgb
from ier_ray.data.order import held_out_tasks
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.errors import CheckpointError, DataError, SettingsError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import evaluate_predictions
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.models.captions import CAPTION_TOKENS, PADDING, Captioner
from ier_ray.serve.app import build
from ier_ray.serve.schemas import AppArgs
from ier_ray.training.checkpoint import read_checkpoint_manifest

CPU = torch.device("cpu")
MODEL = {"architecture": "caption_bert", "image_size": SIZE, "width": 0.02}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> CaptionModels:
    return CaptionModels(*write_caption_models(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def captioned(
    shards: dict[str, str], models: CaptionModels, tmp_path_factory: pytest.TempPathFactory
) -> CaptionReport:
    location = str(tmp_path_factory.mktemp("captioned") / "ier")
    return caption_shards(shards["ier"], location, models, workers=2)


@pytest.fixture(scope="module")
def both(shards: dict[str, str], models: CaptionModels, captioned: CaptionReport) -> dict[str, str]:
    """Captioned shard sets of both domains."""
    fer = str(Path(captioned.location).parent / "fer")
    return {"fer": caption_shards(shards["fer"], fer, models).location, "ier": captioned.location}


@pytest.fixture(scope="module")
def read(both: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A finished run on captions, of two workers."""
    schedule = {"epochs": 1, "warmup_epochs": 0}
    runs = tmp_path_factory.mktemp("runs")
    return run_training(tiny_settings(both, runs, model=MODEL, schedule=schedule))


def read_all(location: str) -> Iterator[pa.Table]:
    shards = ShardSet.open(location)
    for number in range(len(shards.manifest.shards)):
        with closing(shards.parquet(number)) as parquet:
            yield parquet.read()


def test_every_row_is_kept_and_gains_its_caption(
    shards: dict[str, str], models: CaptionModels, captioned: CaptionReport
) -> None:
    before = pa.concat_tables(read_all(shards["ier"]))
    after = pa.concat_tables(read_all(captioned.location))
    assert after.drop_columns(["caption", "tokens"]).equals(before)
    captions = after["caption"].to_pylist()
    assert len(set(captions)) > 10
    captioner = Captioner(models.captioner, models.tokenizer, device=CPU)
    for row in (0, 75, len(before) - 1):
        image = decode_rgb(before["image"][row].as_py())
        assert captions[row] == captioner.describe([image])[0]
    tokenizer = transformers.BertTokenizer.from_pretrained(models.tokenizer)
    for caption, tokens in zip(captions, after["tokens"].to_pylist(), strict=True):
        words = tokenizer(caption)["input_ids"][:CAPTION_TOKENS]
        assert tokens[: len(words) - 1] == words[:-1]
        assert tokens == [*tokens[: len(words)], *[PADDING] * (CAPTION_TOKENS - len(words))]


def test_captioning_again_has_nothing_to_do(
    shards: dict[str, str], models: CaptionModels, captioned: CaptionReport
) -> None:
    again = caption_shards(shards["ier"], captioned.location, models)
    assert again.unchanged
    assert again.manifest == captioned.manifest
    with pytest.raises(DataError, match="made with other settings; choose another --output"):
        caption_shards(shards["fer"], captioned.location, models)
    with pytest.raises(DataError, match="has captions; give the shard set they were made from"):
        caption_shards(captioned.location, f"{captioned.location}-again", models)


def test_a_missing_model_is_named(shards: dict[str, str], models: CaptionModels) -> None:
    absent = CaptionModels("nowhere/captioner", models.tokenizer)
    with pytest.raises(SettingsError, match="captioner: nowhere/captioner is not a directory"):
        caption_shards(shards["ier"], "unused", absent)


def test_a_damaged_row_or_file_is_named(
    shards: dict[str, str], models: CaptionModels, tmp_path: Path
) -> None:
    ids = with_damaged_images(shards["ier"], tmp_path / "images")
    files = with_damaged_pages(shards["ier"], tmp_path / "pages")
    for directory, names in (("images", ids), ("pages", files)):
        output = str(tmp_path / f"{directory}-out")
        with pytest.raises(DataError) as found:
            caption_shards(str(tmp_path / directory), output, models)
        assert any(name in str(for_the_user(found.value)) for name in names)


def test_the_reader_gives_tokens_in_place_of_pixels(captioned: CaptionReport) -> None:
    shards = ShardSet.open(captioned.location)
    [task, *_] = held_out_tasks(shards.index(), rank=0, world_size=1, window=8)
    pixels, tokens = (next(kind.of(shards, 32).read(task)) for kind in (RowReader, CaptionReader))
    assert list(tokens["sample_id"]) == list(pixels["sample_id"])
    assert list(tokens["label"]) == list(pixels["label"])
    stored = stored_tokens(captioned.location)
    expected = [stored[name] for name in tokens["sample_id"]]
    np.testing.assert_array_equal(tokens["image"], np.asarray(expected))
    assert tokens["image"].dtype == np.int64


def test_streams_give_each_samples_tokens_also_of_mixed_in_rows(both: dict[str, str]) -> None:
    plain = token_streams(both)
    fer = plain.splits["fer"].mixed_with(plain.splits["ier"], fraction=0.5, seed=1)
    streams, names = named(replace(plain, fer=fer))
    stored = stored_tokens(both["fer"]) | stored_tokens(both["ier"])
    domains = set()
    for joint in streams.train(0):
        for batch, read in ((joint.fer, names["fer"][-1]), (joint.ier, names["ier"][-1])):
            assert batch.images.tolist() == [stored[name] for name in read]
        domains |= {name.split("-")[1] for name in names["fer"][-1]}
    assert domains == {"fer", "ier"}


def token_streams(both: dict[str, str]) -> JointStreams:
    fer, ier = (SplitIndex.read(ShardSet.open(both[name]), SplitPlan()) for name in ("fer", "ier"))
    return JointStreams(fer, ier, Preprocessing(SIZE, reads_captions=True), batch_size=16, seed=1)


def stored_tokens(location: str) -> dict[str, list[int]]:
    table = pa.concat_tables(read_all(location))
    return dict(zip(table["sample_id"].to_pylist(), table["tokens"].to_pylist(), strict=True))


def test_a_tokenizer_that_is_not_berts_is_refused_before_any_work(
    shards: dict[str, str], models: CaptionModels, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL[1:], SPECIAL[0], *WORDS]))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "odd")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("odd", "has 14 tokens and pads with 4; caption_bert reads"),
        (
            "empty",
            "holds no tokenizer that transformers can read; give a directory that save_pretrained",
        ),
    ):
        asked = CaptionModels(models.captioner, str(tmp_path / name))
        with pytest.raises(SettingsError, match=message):
            caption_shards(shards["ier"], str(tmp_path / "out"), asked)
    assert not (tmp_path / "out").exists()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"pip install 'ier_ray\[captions\]'"):
        caption_shards("unused", "unused", CaptionModels("unused", "unused"))


def test_training_on_captions_from_shards_to_evaluation(
    read: TrainResult, both: dict[str, str]
) -> None:
    """The held-out loss is that of the exported network on the tokens as stored."""
    assert read.history[0]["discrepancy"] > 0
    recognizer = Recognizer.load(read.checkpoint, device="cpu")
    kept = Predictions.read(read.predictions)
    for domain in ("fer", "ier"):
        found = evaluate_predictions(kept, domain=domain, part="val")
        assert found.samples == 32
        assert found.accuracy == pytest.approx(read.metrics[f"{domain}_accuracy"])
        losses: list[float] = []
        for batch in token_streams(both).validation(domain):
            scores = recognizer.probabilities(batch.images.numpy(), domain=domain)
            losses += (-np.log(scores[np.arange(len(scores)), batch.labels])).tolist()
        assert np.mean(losses) == pytest.approx(read.metrics[f"{domain}_val_loss"], rel=1e-6)


def test_shard_sets_without_captions_are_refused_before_anything_starts(
    shards: dict[str, str], both: dict[str, str], read: TrainResult, tmp_path: Path
) -> None:
    for plain in ("fer", "ier"):
        settings = tiny_settings({**both, plain: shards[plain]}, tmp_path, model=MODEL)
        with pytest.raises(
            DataError, match=rf"{shards[plain]}: has no captions, .* jobs/caption\.py"
        ):
            run_training(settings)
    assert not any(tmp_path.iterdir())
    manifest = read_checkpoint_manifest(read.checkpoint)
    with pytest.raises(DataError, match="has no captions"):
        choose_rows(read.checkpoint, manifest, shards["ier"], domain="ier", parts=["all"])


def test_domains_of_different_vocabularies_are_refused_before_anything_starts(
    shards: dict[str, str], both: dict[str, str], models: CaptionModels, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS, *CUES]))  # another order
    other = tmp_path / "tokenizer"
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(other)
    foreign = CaptionModels(models.captioner, str(other))
    fer = caption_shards(shards["fer"], str(tmp_path / "fer"), foreign).location
    settings = tiny_settings({**both, "fer": fer}, tmp_path / "runs", model=MODEL)
    with pytest.raises(DataError, match=r"different vocabularies; .* the same --tokenizer"):
        run_training(settings)
    assert not (tmp_path / "runs").exists()


def test_token_ids_of_an_unnamed_vocabulary_are_refused_before_anything_starts(
    both: dict[str, str], tmp_path: Path
) -> None:
    older = shutil.copytree(both["fer"], tmp_path / "fer")
    for file in older.rglob("part-*.parquet"):
        table = pq.read_table(file)
        names = table.schema.names
        plain = [table.schema.field(name).remove_metadata() for name in names]
        pq.write_table(table.cast(pa.schema(plain)), file)
    settings = tiny_settings({**both, "fer": str(older)}, tmp_path / "runs", model=MODEL)
    with pytest.raises(DataError, match=rf"{older}: column 'tokens' .* run jobs/caption\.py again"):
        run_training(settings)
    assert not (tmp_path / "runs").exists()


def test_training_without_the_library_is_refused_before_anything_starts(
    both: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"pip install 'ier_ray\[captions\]'"):
        run_training(tiny_settings(both, tmp_path, model=MODEL))
    assert not any(tmp_path.iterdir())


def test_what_reads_captions_is_neither_served_nor_explained(
    read: TrainResult, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"reads captions, not images: .* but not served"):
        build(AppArgs(checkpoint=read.checkpoint))
    with pytest.raises(CheckpointError, match=r"reads captions, not images: .* but not explained"):
        explain_images(
            read.checkpoint, [], str(tmp_path), scheme=FOUR, settings=ExplainerSettings()
        )
