"""The service over real HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from ray import serve

from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.synthetic import draw_scene
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.app import build
from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs

CASES = Path(__file__).parents[1] / "data"
MODEL = "/v1/models/ier"
ONE_TREE = {"first_axis": "x", "trees": "1"}
SCENE = encode_png(draw_scene("anger", size=48, seed=11).image)


@pytest.fixture(scope="module")
def client(trained: TrainResult) -> Iterator[httpx.Client]:
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    args = AppArgs(
        checkpoint=trained.checkpoint,
        max_upload_bytes=200_000,
        max_upload_pixels=90_000,
        max_depth=7,
    )
    serve.run(build(args), name="ier", route_prefix="/")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    serve.shutdown()


def test_health_and_metadata(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    info = client.get(MODEL).json()
    assert info["classes"] == ["happy", "sad", "hate", "anger"]
    assert info["image_size"] == 32
    assert info["architecture"] == "emotion_net"


def test_prediction_equals_the_network(client: httpx.Client, trained: TrainResult) -> None:
    pixels = decode_square(SCENE, 32)
    expected = Recognizer.load(trained.checkpoint).probabilities(pixels[None])[0]
    raw = client.post(f"{MODEL}:predict", content=SCENE)
    form = client.post(f"{MODEL}:predict", files={"image": ("scene.png", SCENE)})
    assert raw.status_code == form.status_code == 200
    found = raw.json()
    assert form.json()["label"] == found["label"]
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-6)
    assert found["label"] == ("happy", "sad", "hate", "anger")[expected.argmax()]
    assert found["probability"] == max(found["probabilities"].values())


def test_leaf_values_sum_to_the_difference_from_the_baseline(client: httpx.Client) -> None:
    coarse = {"contexts": "absent", "target": "sad", "score": "logit", "depth": "3"}
    coarse |= ONE_TREE
    for query, depth in (({}, 6), (coarse, 3)):
        reply = client.post(f"{MODEL}:explain", content=SCENE, params=query)
        assert reply.status_code == 200
        found = reply.json()
        assert len(found["leaves"]) == 2**depth
        total = sum(leaf["value"] for leaf in found["leaves"])
        assert abs(total - (found["full"] - found["empty"])) < 1e-5
        area = sum(
            (leaf["bottom"] - leaf["top"]) * (leaf["right"] - leaf["left"])
            for leaf in found["leaves"]
        )
        assert area == 32 * 32
    assert found["target"] == "sad"
    assert found["evaluations"] == 16


def test_sharp_maps_of_few_evaluations(client: httpx.Client) -> None:
    query: dict[str, str | float] = {"variant": "proportional", "contexts": "present"}
    query |= {"depth": 7, "tolerance": 0.02, "score": "probability", **ONE_TREE}
    found = client.post(f"{MODEL}:explain", content=SCENE, params=query).json()
    assert found["evaluations"] < 2 * 2**7
    assert len(found["leaves"]) == found["evaluations"] / 2
    total = sum(leaf["value"] for leaf in found["leaves"])
    assert abs(total - (found["full"] - found["empty"])) < 1e-5
    assert found["settings"]["variant"] == "proportional"
    assert {leaf["deviation"] for leaf in found["leaves"]} == {None}


def test_a_budget_beyond_the_tree_says_how_sure_it_is(client: httpx.Client) -> None:
    query = {"depth": "3", "budget": "64", "contexts": "both", **ONE_TREE}
    found = client.post(f"{MODEL}:explain", content=SCENE, params=query).json()
    assert found["evaluations"] == 64
    assert all(leaf["deviation"] > 0 for leaf in found["leaves"])


def test_several_trees_say_how_much_depends_on_their_cuts(client: httpx.Client) -> None:
    query = {"preset": "paper", "contexts": "both", "variant": "normalized", "trees": "3"}
    found = client.post(f"{MODEL}:explain", content=SCENE, params=query | {"depth": "3"}).json()
    assert found["settings"]["trees"] == 3
    assert found["evaluations"] == 3 * 28
    assert all(leaf["spread"] > 0 for leaf in found["leaves"])
    assert abs(found["efficiency_gap"]) < 1e-9


def test_a_preset_sets_everything(client: httpx.Client) -> None:
    query = {"preset": "paper", "depth": "2"}
    found = client.post(f"{MODEL}:explain", content=SCENE, params=query).json()
    assert found["settings"] == ExplainerSettings(preset="paper", depth=2).model_dump()
    assert found["evaluations"] == 2 * 2**2
    refused = client.post(f"{MODEL}:explain", content=SCENE, params=query | {"trees": "2"})
    assert refused.status_code == 422
    assert "variant paper is defined for trees 1, got 2" in refused.json()["detail"]


def test_the_explained_score_is_the_prediction(client: httpx.Client) -> None:
    predicted = client.post(f"{MODEL}:predict", content=SCENE).json()
    for score in ("probability", "logit", "log_odds"):
        found = client.post(f"{MODEL}:explain", content=SCENE, params={"score": score}).json()
        assert found["target"] == found["prediction"]["label"] == predicted["label"]
        assert found["prediction"]["probability"] == pytest.approx(
            predicted["probability"], abs=1e-5
        )
        if score == "probability":
            assert found["full"] == found["prediction"]["probability"]


def test_accepting_a_picture_gives_the_heat_map(client: httpx.Client) -> None:
    reply = client.post(f"{MODEL}:explain", content=SCENE, headers={"accept": "image/png"})
    assert reply.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(reply.content)).size == (448, 448)


@pytest.mark.parametrize(
    ("content", "query", "status", "error", "detail"),
    [
        (b"", {}, 400, "missing_image", "multipart field 'image'"),
        (b"not an image", {}, 415, "unidentified", "not an image"),
        (SCENE[:300], {}, 415, "truncated", "cannot be decoded"),
        ((CASES / "damaged.avif").read_bytes(), {}, 415, "truncated", "AVIF image cannot be"),
        (
            (CASES / "unknown_pixel_format.dds").read_bytes(),
            {},
            415,
            "unsupported",
            "pixel format 1515870810",
        ),
        (b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage", {}, 415, "unidentified", "not an image"),
        (b"x" * 200_001, {}, 413, "too_large", "more than the 200000 bytes allowed"),
        (encode_png(np.zeros((301, 300, 3), np.uint8)), {}, 413, "too_large", "300x301 pixels"),
        (SCENE, {"depth": 8}, 422, "bad_parameter", "depth: must be <= 7, got 8"),
        (SCENE, {"depth": -1}, 422, "bad_parameter", "depth: "),
        (SCENE, {"target": "awe"}, 422, "bad_parameter", "target: must be one of happy"),
        (SCENE, {"contexts": "none"}, 422, "bad_parameter", "contexts: "),
        (SCENE, {"baseline": "#12345"}, 422, "bad_parameter", "baseline: "),
        (SCENE, {"levels": 3}, 422, "bad_parameter", "levels: "),
        (SCENE, {"budget": 9000}, 422, "bad_parameter", "budget: "),
        (
            SCENE,
            {"budget": 3, "trees": 1, "first_axis": "both"},
            422,
            "bad_parameter",
            "budget must be >= 4",
        ),
        (
            SCENE,
            {"budget": 6, "trees": 4, "first_axis": "x"},
            422,
            "bad_parameter",
            "budget must be >= 8",
        ),
        (SCENE, {"preset": "best"}, 422, "bad_parameter", "preset: "),
        (SCENE, {"trees": 100}, 422, "bad_parameter", "trees: "),
        (SCENE, {"variant": "paper"}, 422, "bad_parameter", "contexts absent, got both"),
    ],
)
def test_bad_requests_get_a_json_error(
    client: httpx.Client,
    content: bytes,
    query: dict[str, str],
    status: int,
    error: str,
    detail: str,
) -> None:
    reply = client.post(f"{MODEL}:explain", content=content, params=query)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["error"] == error
    assert reply.json()["type"] == f"urn:ier-ray:problem:{error}"
    assert reply.json()["status"] == status
    assert reply.json()["instance"] == f"{MODEL}:explain"
    assert detail in reply.json()["detail"]
    assert client.post(f"{MODEL}:predict", content=SCENE).status_code == 200  # the service goes on


def test_a_form_without_the_image_is_named(client: httpx.Client) -> None:
    reply = client.post(f"{MODEL}:predict", files={"picture": ("a.png", SCENE)})
    assert (reply.status_code, reply.json()["error"]) == (400, "missing_image")


def test_the_interface_is_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    any_model = "/v1/models/{network}"
    assert {"/healthz", any_model, f"{any_model}:predict", f"{any_model}:explain"} <= set(paths)
    assert "image/png" in paths[f"{any_model}:explain"]["post"]["responses"]["200"]["content"]
