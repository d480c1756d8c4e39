"""The whole interface on Ray Serve: both networks, several images, costs, and its own document."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from support.checkpoints import save_tiny
from support.service import events_of, running, scene, values
from support.violations import of_service

from ier_ray.data.images import decode_square
from ier_ray.data.schema import Domain
from ier_ray.explain.rendering import from_npz
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.schemas import AppArgs, JobSettings

EXAMPLES = int(os.environ.get("IER_RAY_SCHEMATHESIS_EXAMPLES", "20"))
"""Random requests to each operation, beside those of boundary values."""
IER, FER = "/v1/models/ier", "/v1/models/fer"
DOMAINS: tuple[Domain, ...] = ("ier", "fer")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def url(cluster: None, checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    args = AppArgs(
        checkpoint=checkpoint,
        jobs=JobSettings(storage=str(tmp_path_factory.mktemp("jobs"))),
        max_depth=4,
        max_instances=6,
        explainer=ExplainerSettings(depth=3),
    )
    with running(args) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def recognizer(checkpoint: str) -> Recognizer:
    return Recognizer.load(checkpoint)


def instances(*images: bytes) -> dict[str, Any]:
    return {"instances": [{"b64": base64.b64encode(each).decode()} for each in images]}


def pixels_of(recognizer: Recognizer, seed: int) -> np.ndarray:
    return decode_square(scene(seed), recognizer.manifest.model.image_size)


def test_both_networks_are_served_at_the_same_time_and_never_mixed(
    client: httpx.Client, recognizer: Recognizer
) -> None:
    cases = [(domain, seed) for seed in range(12) for domain in DOMAINS]
    settings = ExplainerSettings(depth=3)

    def ask(case: tuple[Domain, int]) -> tuple[dict[str, Any], dict[str, Any]]:
        domain, seed = case
        model = f"/v1/models/{domain}"
        predicted = client.post(f"{model}:predict", content=scene(seed)).json()
        return predicted, client.post(f"{model}:explain", content=scene(seed)).json()

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(ask, cases))
    for (domain, seed), (predicted, explained) in zip(cases, replies, strict=True):
        pixels = pixels_of(recognizer, seed)
        expected = recognizer.probabilities(pixels[None], domain=domain)[0]
        np.testing.assert_allclose(list(predicted["probabilities"].values()), expected, atol=1e-6)
        found = settings.explainer().explain(recognizer.evaluator(pixels, settings, domain=domain))
        target = recognizer.manifest.classes.index(explained["target"])
        np.testing.assert_allclose(values(explained), found.leaf_values(target), atol=1e-5)
        assert explained["network"] == domain


def test_several_images_come_back_in_their_places(
    client: httpx.Client, recognizer: Recognizer
) -> None:
    body = instances(scene(1), b"no image", *map(scene, range(2, 6)))
    predicted = client.post(f"{FER}:predict", json=body).json()["predictions"]
    query = {"depth": 2}
    explained = client.post(f"{FER}:explain", json=body, params=query).json()["predictions"]
    for place, seed in ((0, 1), (2, 2), (3, 3), (4, 4), (5, 5)):
        expected = recognizer.probabilities(pixels_of(recognizer, seed)[None], domain="fer")[0]
        found = list(predicted[place]["probabilities"].values())
        np.testing.assert_allclose(found, expected, atol=1e-6)
        alone = client.post(f"{FER}:explain", content=scene(seed), params=query).json()
        np.testing.assert_allclose(values(explained[place]), values(alone), atol=1e-9)
    for found in (predicted, explained):
        assert (found[1]["error"]["status"], found[1]["error"]["error"]) == (415, "unidentified")


def test_the_cost_crosses_processes(client: httpx.Client) -> None:
    predicted = client.get(f"{FER}:cost", params={"depth": 4}).json()
    assert predicted["evaluations"] == 4 * 2**4 - 4
    query: dict[str, Any] = {"depth": 4, "dry_run": "true"}
    dry = client.post(f"{FER}:explain", content=scene(900), params=query).json()
    assert (dry["evaluations"], dry["macs"]) == (predicted["evaluations"], predicted["macs"])
    found = client.post(f"{FER}:explain", content=scene(900), params={"depth": 4}).json()
    assert found["cost"]["rows"] == predicted["evaluations"]
    assert found["cost"]["macs"] == pytest.approx(predicted["macs"])
    refused = client.get(f"{FER}:cost", params={"depth": 5})
    assert (refused.status_code, refused.json()["error"]) == (422, "bad_parameter")


def test_arrays_and_events(client: httpx.Client) -> None:
    def options(accept: str) -> dict[str, Any]:
        return {"content": scene(7), "params": {"depth": 3}, "headers": {"accept": accept}}

    whole = client.post(f"{IER}:explain", **options("application/json")).json()
    arrays = from_npz(client.post(f"{IER}:explain", **options("application/x-npz")).content)
    target = list(whole["prediction"]["probabilities"]).index(whole["target"])
    np.testing.assert_array_equal(arrays.leaf_values(target), values(whole))
    with client.stream("POST", f"{IER}:explain", **options("text/event-stream")) as response:
        found = list(events_of(response))
    assert [len(each["levels"]) for _, each in found] == [1, 2, 3, 4]
    assert found[-1][1]["levels"] == whole["levels"]


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(url: str) -> None:
    found, replies = of_service(url, examples=EXAMPLES)
    assert found == []
    assert replies > 500
