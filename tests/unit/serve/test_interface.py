"""The routes of the service on real networks, batches and engine, in this process."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.checkpoints import manifest_of
from support.interface import interface

from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.provenance import SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.synthetic import draw_scene
from ier_ray.explain.rendering import from_npz
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.training.checkpoint import save_checkpoint

IER, FER = "/v1/models/ier", "/v1/models/fer"
PROBLEM = "application/problem+json"
SCENES = [encode_png(draw_scene("anger", size=48, seed=seed).image) for seed in range(4)]
MOST_BYTES = 100_000
Served = tuple[TestClient, Recognizer]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = {"max_depth": 5, "max_instances": 4, "max_upload_bytes": MOST_BYTES}
    limits["max_request_bytes"] = 3 * MOST_BYTES
    with interface(tmp_path_factory.mktemp("checkpoint"), **limits) as found:
        yield found


@pytest.fixture
def client(served: Served) -> TestClient:
    return served[0]


def instances(*images: bytes) -> dict[str, Any]:
    """KServe's JSON of images, in both of its forms."""
    encoded = [base64.b64encode(image).decode() for image in images]
    return {
        "instances": [
            {"b64": text} if number % 2 else {"image": {"b64": text}}
            for number, text in enumerate(encoded)
        ]
    }


def pixels_of(encoded: bytes) -> np.ndarray:
    return decode_square(encoded, 32)


@pytest.mark.parametrize("domain", ["ier", "fer"])
def test_each_network_predicts_as_it_does_alone(served: Served, domain: Domain) -> None:
    client, recognizer = served
    expected = recognizer.probabilities(pixels_of(SCENES[0])[None], domain=domain)[0]
    other = recognizer.probabilities(
        pixels_of(SCENES[0])[None], domain="fer" if domain == "ier" else "ier"
    )[0]
    found = client.post(f"/v1/models/{domain}:predict", content=SCENES[0]).json()
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-6)
    assert np.abs(expected - other).max() > 1e-3


@pytest.mark.parametrize("domain", ["ier", "fer"])
def test_each_network_is_explained_as_it_is_alone(served: Served, domain: Domain) -> None:
    client, recognizer = served
    settings = ExplainerSettings(depth=4, score="logit")
    evaluator = recognizer.evaluator(pixels_of(SCENES[0]), settings, domain=domain)
    expected = settings.explainer().explain(evaluator)
    query: dict[str, Any] = {"depth": 4, "score": "logit", "target": "sad"}
    found = client.post(f"/v1/models/{domain}:explain", content=SCENES[0], params=query).json()
    values = [leaf["value"] for leaf in found["leaves"]]
    np.testing.assert_allclose(values, expected.leaf_values(1), atol=1e-5)
    assert found["network"] == domain


def test_networks_say_what_they_are_and_that_they_are_ready(client: TestClient) -> None:
    assert client.get("/v1/models").json() == {"models": ["fer", "ier"]}
    info = client.get(FER).json()
    assert (info["name"], info["ready"], info["image_size"]) == ("fer", True, 32)
    assert client.get(f"{FER}/ready").json() == {"name": "fer", "ready": True}
    for path in ("/healthz", "/v1/models", FER, f"{FER}/ready", f"{FER}:cost?depth=1", "/docs"):
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        refused = client.delete(path)
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_a_checkpoint_of_one_network_serves_that_one(tmp_path: Path) -> None:
    settings = ModelSettings(image_size=32, width=0.02)
    model = build_joint_model(settings, num_classes=4, networks=("fer",))
    manifest = manifest_of(settings, networks=("fer",))
    save_checkpoint(tmp_path, model, manifest, {}, SeenRows.none())
    with interface(tmp_path) as (client, _):
        assert client.get("/v1/models").json() == {"models": ["fer"]}
        assert client.post(f"{FER}:predict", content=SCENES[0]).status_code == 200
        assert client.post(f"{FER}:explain?depth=1", content=SCENES[0]).status_code == 200
        for method, path in (("GET", ""), ("POST", ":predict"), ("POST", ":explain")):
            refused = client.request(method, f"{IER}{path}", content=SCENES[0])
            assert (refused.status_code, refused.json()["error"]) == (404, "no_network")
            assert "use /v1/models/fer, or deploy" in refused.json()["detail"]
        paths = client.get("/openapi.json").json()["paths"]
        (network,) = paths["/v1/models/{network}"]["get"]["parameters"]
        assert network["schema"]["enum"] == ["fer"]


def test_of_several_images_one_that_is_bad_fails_alone(client: TestClient) -> None:
    alone = [client.post(f"{IER}:predict", content=scene).json() for scene in SCENES[:2]]
    body = instances(SCENES[0], b"no image", SCENES[1])
    body["instances"].append({"b64": "%%%%"})
    reply = client.post(f"{IER}:predict", json=body)
    found = reply.json()["predictions"]
    assert reply.status_code == 200
    assert reply.json()["weights_sha256"] == alone[0]["weights_sha256"]
    for place, single in ((0, alone[0]), (2, alone[1])):
        assert found[place]["label"] == single["label"]
        assert found[place]["probability"] == pytest.approx(single["probability"], abs=1e-6)
    problems = [found[place]["error"] for place in (1, 3)]
    assert [each["status"] for each in problems] == [415, 400]
    assert [each["error"] for each in problems] == ["unidentified", "bad_base64"]
    assert problems[1]["instance"] == f"{IER}:predict#/instances/3"


def test_an_image_of_several_that_is_too_large_or_empty_fails_alone(client: TestClient) -> None:
    body = instances(SCENES[0], bytes(MOST_BYTES + 1), b"")
    found = client.post(f"{FER}:predict", json=body).json()["predictions"]
    assert "label" in found[0]
    assert [each["error"]["error"] for each in found[1:]] == ["too_large", "missing_image"]


def test_several_files_of_a_form_are_predicted_together(client: TestClient) -> None:
    files = [("image", ("a.png", scene)) for scene in SCENES[:3]]
    by_form = client.post(f"{IER}:predict", files=files).json()["predictions"]
    by_json = client.post(f"{IER}:predict", json=instances(*SCENES[:3])).json()["predictions"]
    assert [each["label"] for each in by_form] == [each["label"] for each in by_json]
    assert len(by_form) == 3
    refused = client.post(f"{IER}:explain", files=files)
    assert (refused.status_code, refused.json()["error"]) == (400, "several_images")


ONE = instances(SCENES[0])
ENCODED = ONE["instances"][0]["image"]["b64"]


@pytest.mark.parametrize(
    ("verb", "body", "status", "error", "detail"),
    [
        ("predict", "{", 400, "bad_json", "the body is not JSON"),
        ("predict", '"\\ud800"', 400, "bad_json", "the body is not JSON"),
        ("predict", [], 422, "bad_instances", "should be an object"),
        ("predict", {}, 422, "bad_instances", "instances: Field required"),
        ("predict", {"instances": []}, 422, "bad_instances", "at least 1 item"),
        ("predict", {"instances": [3]}, 422, "bad_instances", "instances.0"),
        ("predict", {"instances": [{"b64": 3}]}, 422, "bad_instances", "valid string, got 3"),
        ("predict", {"instances": [{"url": "http://a"}]}, 422, "bad_instances", "0.b64.url: Extra"),
        ("predict", {**ONE, "signature_name": "a"}, 422, "bad_instances", "signature_name: Extra"),
        ("predict", {**ONE, "parameters": {}}, 422, "bad_instances", "parameters: Extra"),
        ("predict", instances(*[b"a"] * 5), 422, "bad_instances", "at most 4 images"),
        ("predict", {"instances": [{"b64": "a" * 300_001}]}, 413, "too_large", "300000 bytes"),
        ("explain", {**ONE, "parameters": {"depth": "3"}}, 422, "bad_instances", "valid integer"),
        ("explain", {**ONE, "parameters": {"levels": 3}}, 422, "bad_instances", "levels: Extra"),
        ("explain", {**ONE, "parameters": {"depth": 6}}, 422, "bad_parameter", "<= 5, got 6"),
        ("explain", {**ONE, "parameters": {"dry_run": []}}, 422, "bad_instances", "true or false"),
        (
            "explain",
            {**ONE, "parameters": {"depth": 1, "target": "awe"}},
            422,
            "bad_parameter",
            "of happy",
        ),
    ],
)
def test_json_that_cannot_be_used(
    client: TestClient, verb: str, body: Any, status: int, error: str, detail: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json; charset=utf-8"}
    reply = client.post(f"{IER}:{verb}", content=content, headers=headers)
    found = reply.json()
    assert (reply.status_code, found["error"]) == (status, error)
    assert reply.headers["content-type"] == PROBLEM
    assert (found["status"], found["type"]) == (status, f"urn:ier-ray:problem:{error}")
    assert detail in found["detail"]
    assert len(found["detail"]) < 2000


def test_parameters_are_in_the_query_or_in_the_body(client: TestClient) -> None:
    in_query = client.post(f"{IER}:explain?depth=2&target=sad", json=ONE).json()["predictions"][0]
    body = {**ONE, "parameters": {"depth": 2, "target": "sad"}}
    in_body = client.post(f"{IER}:explain", json=body).json()["predictions"][0]
    assert in_query["leaves"] == in_body["leaves"]
    assert in_body["target"] == "sad"
    both = client.post(f"{IER}:explain?depth=2", json=body)
    assert both.status_code == 422
    assert "not both" in both.json()["detail"]


def test_of_several_explanations_one_that_is_bad_fails_alone(client: TestClient) -> None:
    body = {**instances(SCENES[0], b"no image", SCENES[1]), "parameters": {"depth": 2}}
    found = client.post(f"{FER}:explain", json=body).json()["predictions"]
    for place, scene in ((0, SCENES[0]), (2, SCENES[1])):
        alone = client.post(f"{FER}:explain?depth=2", content=scene).json()
        together, single = (
            [leaf["value"] for leaf in each["leaves"]] for each in (found[place], alone)
        )
        np.testing.assert_allclose(together, single, atol=1e-6)
    assert found[1]["error"]["status"] == 415


def test_the_credits_of_every_level_sum_to_the_same(client: TestClient) -> None:
    query: dict[str, Any] = {"depth": 5, "contexts": "both", "tolerance": 0.002}
    found = client.post(f"{IER}:explain", content=SCENES[0], params=query).json()
    assert [each["level"] for each in found["levels"]] == list(range(len(found["levels"])))
    for level in found["levels"]:
        regions = level["regions"]
        total = sum(each["value"] for each in regions)
        assert total == pytest.approx(found["full"] - found["empty"], abs=1e-9)
        areas = [(r["bottom"] - r["top"]) * (r["right"] - r["left"]) for r in regions]
        assert sum(areas) == 32 * 32
    sides = ("top", "bottom", "left", "right", "value")
    leaves = {tuple(leaf[side] for side in sides) for leaf in found["leaves"]}
    assert {tuple(each[side] for side in sides) for each in regions} == leaves


def test_an_explanation_says_what_it_has_cost(client: TestClient) -> None:
    predicted = client.get(f"{IER}:cost", params={"depth": 3}).json()
    assert predicted["evaluations"] == 4 * 2**3 - 4
    assert predicted["admitted"]
    assert predicted["refusal"] is None
    image = encode_png(draw_scene("sad", size=48, seed=77).image)
    first = client.post(f"{IER}:explain?depth=3", content=image).json()
    assert first["cost"]["rows"] == first["evaluations"] == predicted["evaluations"]
    assert first["cost"]["macs"] == pytest.approx(predicted["macs"])
    assert first["cost"]["seconds"] > 0
    again = client.post(f"{IER}:explain?depth=3", content=image).json()
    assert (again["cost"]["rows"], again["cost"]["macs"]) == (0, 0)
    deeper = client.post(f"{IER}:explain?depth=4", content=image).json()
    assert deeper["cost"]["rows"] == 4 * 2**4 - 4 * 2**3


@pytest.mark.parametrize(
    ("query", "evaluations"),
    [
        ({"depth": 4, "contexts": "absent"}, 2 * 2**4),
        ({"depth": 2, "trees": 3}, 3 * (4 * 2**2 - 4)),
        ({"depth": 2, "first_axis": "both"}, 2 * (4 * 2**2 - 4)),
        ({"depth": 5, "budget": 40}, 40),
        ({"depth": 2, "budget": 100}, 100),
        ({"depth": 2, "budget": 100, "variant": "proportional"}, 4 * 2**2 - 4),
        ({"preset": "paper", "depth": 2}, 2 * 2**2),
    ],
)
def test_the_cost_is_known_before_anything_is_computed(
    client: TestClient, query: dict[str, Any], evaluations: int
) -> None:
    predicted = client.get(f"{IER}:cost", params=query).json()
    assert predicted["evaluations"] == evaluations
    found = client.post(f"{IER}:explain", content=SCENES[2], params=query).json()
    assert found["evaluations"] <= evaluations
    assert found["settings"] == predicted["settings"]


def test_a_dry_run_checks_and_computes_nothing(client: TestClient) -> None:
    image = encode_png(draw_scene("happy", size=48, seed=5).image)
    query: dict[str, Any] = {"depth": 3, "dry_run": "true"}
    found = client.post(f"{FER}:explain", content=image, params=query).json()
    cost = client.get(f"{FER}:cost?depth=3").json()
    assert {name: found[name] for name in ("evaluations", "macs", "settings", "admitted")} == {
        name: cost[name] for name in ("evaluations", "macs", "settings", "admitted")
    }
    after = client.post(f"{FER}:explain?depth=3", content=image).json()
    assert after["cost"]["rows"] == after["evaluations"]  # nothing was known
    assert client.post(f"{FER}:explain", content=b"x", params=query).status_code == 415
    refused = client.post(f"{FER}:explain", content=image, params={**query, "depth": 6})
    assert refused.status_code == 422
    refused = client.post(f"{FER}:explain", content=image, params={**query, "dry_run": "1"})
    assert "dry_run: Value error, must be true or false" in refused.json()["detail"]
    refused = client.post(
        f"{FER}:explain", content=image, params=query, headers={"accept": "image/png"}
    )
    assert refused.status_code == 406
    several = {**instances(image, b"x"), "parameters": {"depth": 3, "dry_run": True}}
    places = client.post(f"{FER}:explain", json=several).json()["predictions"]
    assert places[0]["evaluations"] == cost["evaluations"]
    assert places[1]["error"]["status"] == 415


def test_what_costs_too_much_is_told_before_and_refused(tmp_path: Path) -> None:
    with interface(tmp_path, max_explanation_s=1e-6) as (client, _):
        predicted = client.get(f"{IER}:cost?depth=3").json()
        refused = client.post(f"{IER}:explain?depth=3", content=SCENES[0])
        assert not predicted["admitted"]
        assert predicted["refusal"]["status"] == refused.status_code == 422
        assert predicted["refusal"]["detail"] == refused.json()["detail"]
        assert "lower depth, or give a budget" in refused.json()["detail"]
    with interface(tmp_path, max_explanation_s=0.05) as (client, _):
        one = client.get(f"{IER}:cost?depth=3").json()
        assert one["admitted"]
        assert one["seconds"] * 8 > 0.05
        together = client.post(f"{IER}:explain?depth=3", json=instances(*[SCENES[0]] * 8))
        assert together.status_code == 422
        assert "8 explanations would take" in together.json()["detail"]


def test_the_reply_has_the_media_type_that_the_client_prefers(client: TestClient) -> None:
    def ask(accept: str, **options: Any) -> Any:
        headers = {"accept": accept}
        return client.post(f"{IER}:explain?depth=3", headers=headers, **options)

    whole = ask("*/*", content=SCENES[0]).json()
    arrays = ask("application/x-npz", content=SCENES[0])
    assert arrays.headers["content-type"] == "application/x-npz"
    explanation = from_npz(arrays.content)
    target = ["happy", "sad", "hate", "anger"].index(whole["target"])
    values = [leaf["value"] for leaf in whole["leaves"]]
    np.testing.assert_array_equal(explanation.leaf_values(target), values)
    assert explanation.credits.shape == (2**4 - 1, 4)
    assert ask("image/png", content=SCENES[0]).content.startswith(b"\x89PNG")
    events = ask("text/event-stream", content=SCENES[0]).text
    assert events.count("event: level\n") == 3
    assert json.loads(events.split("data: ")[-1])["leaves"] == whole["leaves"]
    for accept, options in (("text/html", {"content": SCENES[0]}), ("image/png", {"json": ONE})):
        refused = ask(accept, **options)
        assert (refused.status_code, refused.json()["error"]) == (406, "not_acceptable")


def test_at_the_deadline_of_a_request_its_other_images_are_given_up(tmp_path: Path) -> None:
    with interface(tmp_path, deadline_s=1e-9) as (client, _):
        body = {**instances(SCENES[0], b""), "parameters": {"depth": 1}}
        places = client.post(f"{IER}:explain", json=body).json()["predictions"]
        assert [each["error"]["error"] for each in places] == ["deadline", "missing_image"]
        late = client.post(f"{IER}:explain?depth=1", json=ONE)
        assert (late.status_code, late.json()["error"]) == (504, "deadline")
