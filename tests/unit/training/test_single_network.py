"""Runs of one network alone: the controls without adaptation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from support.runs import SIZE, local_streams, run, tiny_settings

from ier_ray.config import parse_settings
from ier_ray.data.images import Pixels
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.emotions import FOUR
from ier_ray.errors import CheckpointError, SettingsError
from ier_ray.inference import Recognizer
from ier_ray.training.checkpoint import load_checkpoint, read_checkpoint_manifest
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import start

OTHER: dict[Domain, Domain] = {"fer": "ier", "ier": "fer"}


def alone(domain: Domain, shards: dict[str, str], storage: Path, **changes: Any) -> TrainSettings:
    schedule = {"epochs": 2, "warmup_epochs": 1, "networks": domain} | changes.pop("schedule", {})
    data: dict[str, str] = {domain: shards[domain]}
    return tiny_settings(data, storage, loss={"balance": 0}, schedule=schedule, **changes)


def run_alone(
    settings: TrainSettings, shards: dict[str, str], directory: Path
) -> list[dict[str, Any]]:
    """The other domain's data are not even opened."""
    torch.set_num_threads(1)
    both = local_streams(shards, batch_size=settings.optimizer.batch_size)
    (domain,) = settings.domains
    splits: dict[str, Any] = {domain: both.splits[domain], OTHER[domain]: None}
    streams = replace(both, **splits)
    return train(settings, streams, FOUR, LocalContext(directory)).history


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_run_of_one_network_holds_and_reports_nothing_of_the_other(
    domain: Domain, shards: dict[str, str], tmp_path: Path
) -> None:
    augment = {"flip": 0.5, "crop": 0.5, "jitter": 0.5}
    settings = alone(domain, shards, tmp_path, data__augment=augment)
    history = run_alone(settings, shards, tmp_path)
    other = OTHER[domain]
    assert not [name for record in history for name in record if name.startswith(other)]
    assert history[0][domain] == pytest.approx(history[0]["total"])
    assert [record["step"] for record in history] == [12, 24]  # 96 balanced rows in batches of 8
    with safetensors.safe_open(tmp_path / "last/model.safetensors", "pt") as file:
        assert {name.split(".")[0] for name in file.keys()} == {domain}  # noqa: SIM118
    manifest = read_checkpoint_manifest(f"{tmp_path}/last")
    assert manifest.networks == (domain,)
    assert set(manifest.metrics) == {f"{domain}_val_loss", f"{domain}_accuracy"}
    assert set(manifest.data) == {domain}


def test_ier_alone_is_ier_of_a_joint_run_without_a_discrepancy(
    shards: dict[str, str], tmp_path: Path
) -> None:
    """Both draw the same first network, which the joint run copies."""
    plain = {"epochs": 2, "warmup_epochs": 1, "scale_new_layers": False}
    single = alone("ier", shards, tmp_path, schedule=plain)
    joint = tiny_settings(
        shards, tmp_path, loss={"balance": 0}, schedule=plain | {"ier_start": "fer"}
    )
    found = run_alone(single, shards, tmp_path / "alone")
    expected = run(joint, shards, tmp_path / "joint")
    for name in ("ier", "ier_val_loss", "ier_accuracy"):
        assert [r[name] for r in found] == pytest.approx([r[name] for r in expected], rel=1e-5)
    weights = [load_checkpoint(f"{tmp_path}/{n}/last")[0].ier for n in ("alone", "joint")]
    for (name, tensor), other in zip(
        weights[0].state_dict().items(), weights[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(tensor, other, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_run_of_one_network_resumes_exactly_also_with_a_frozen_trunk(
    domain: Domain, shards: dict[str, str], tmp_path: Path
) -> None:
    optimizer = {"batch_size": 16, "trunk_factor": 0, "ema": 0.5, "schedule": "plateau"}
    whole, half = (
        alone(domain, shards, tmp_path, optimizer=optimizer, schedule={"epochs": n, "patience": 9})
        for n in (3, 1)
    )
    undisturbed = run_alone(whole, shards, tmp_path / "whole")
    run_alone(half, shards, tmp_path / "stopped")
    resumed = run_alone(whole, shards, tmp_path / "stopped")
    for found, expected in zip(resumed, undisturbed, strict=True):
        for name in expected.keys() - {"seconds", "images_per_s"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    state = start(whole, FOUR, LocalContext(tmp_path / "fresh"))
    assert state.cache is not None


def test_the_absent_network_is_named(shards: dict[str, str], tmp_path: Path) -> None:
    run_alone(alone("ier", shards, tmp_path, schedule={"epochs": 1}), shards, tmp_path)
    location = f"{tmp_path}/last"
    model, _ = load_checkpoint(location)
    assert list(model.networks) == ["ier"]
    pixels: Pixels = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8).numpy()
    recognizer = Recognizer.load(location, device="cpu")
    assert recognizer.probabilities(pixels).shape == (1, 4)
    with pytest.raises(CheckpointError, match=r"holds the ier network alone .* no fer network"):
        recognizer.probabilities(pixels, domain="fer")
    with pytest.raises(CheckpointError, match="there is no fer network"):
        model.fer(torch.zeros(1, 3, SIZE, SIZE))
    transfer = tiny_settings(shards, tmp_path, schedule={"fer_checkpoint": location})
    with pytest.raises(CheckpointError, match=r"last: holds the ier network alone .* no fer"):
        start(transfer, FOUR, LocalContext(tmp_path / "transfer"))
    with pytest.raises(CheckpointError, match="holds the networks ier, this run trains fer, ier"):
        start(tiny_settings(shards, tmp_path), FOUR, LocalContext(tmp_path))


def test_ier_alone_may_start_from_a_trained_fer_network(
    shards: dict[str, str], tmp_path: Path
) -> None:
    run_alone(alone("fer", shards, tmp_path, schedule={"epochs": 1}), shards, tmp_path / "source")
    source = {"fer_checkpoint": f"{tmp_path}/source/last", "ier_start": "fer"}
    state = start(alone("ier", shards, tmp_path, schedule=source), FOUR, LocalContext(tmp_path))
    trained = load_checkpoint(f"{tmp_path}/source/last")[0].fer.state_dict()
    for name, tensor in state.model.ier.state_dict().items():
        assert torch.equal(tensor, trained[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"balance": 1.0}}, r"networks ier .*: loss\.balance must be 0, got 1"),
        ({"loss": {"balance": 0, "supervision": "fer"}}, r"loss\.supervision must be both"),
        ({"loss": {"balance": 0, "discrepancy": "dann"}}, r"dann has a discriminator of both"),
        ({"data": {"ier": "a", "mix": 0.5}}, r"data\.mix must be 0, got 0\.5"),
        ({"schedule": {"networks": "ier", "ier_start": "fer"}}, r"ier_start must be fer with"),
        ({"schedule": {"networks": "ier", "fer_checkpoint": "x"}}, r"ier_start must be fer with"),
        ({"schedule": {"networks": "fer"}}, r"data\.fer is required; .* --data\.fer"),
        ({"schedule": {"networks": "both"}}, r"data\.fer is required; .* --data\.fer"),
    ],
)
def test_settings_of_two_networks_are_refused_for_one(
    changes: dict[str, Any], message: str
) -> None:
    values = {"data": {"ier": "a"}, "loss": {"balance": 0}, "schedule": {"networks": "ier"}}
    assert parse_settings(TrainSettings, values, source="x").domains == ("ier",)
    with pytest.raises(SettingsError, match=message):
        parse_settings(TrainSettings, values | changes, source="x")


def test_fer_alone_may_read_a_fraction_of_the_ier_data() -> None:
    values: dict[str, Any] = {
        "data": {"fer": "a", "ier": "b", "mix": 0.5},
        "loss": {"balance": 0},
        "schedule": {"networks": "fer"},
    }
    settings = parse_settings(TrainSettings, values, source="x")
    assert settings.domains == ("fer",)
    assert settings.sources == ("fer", "ier")
    assert settings.located().data.ier == str(Path("b").absolute())
    unmixed = values | {"data": {"fer": "a", "ier": "b"}}
    assert parse_settings(TrainSettings, unmixed, source="x").sources == ("fer",)
    with pytest.raises(SettingsError, match=r"data\.ier is required"):
        parse_settings(TrainSettings, values | {"data": {"fer": "a", "mix": 0.5}}, source="x")
