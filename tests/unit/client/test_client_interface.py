"""Both clients on the real interface in this process, against the networks alone."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.interface import interface

from ier_ray.client import AsyncClient, Client, ProblemError
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import Explanation, PredictionReply, Refused
from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.schema import Domain
from ier_ray.data.synthetic import draw_scene
from ier_ray.errors import ServiceError, StorageError
from ier_ray.explain.dncshap import Explanation as Computed
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer

URL = "http://service"
SCENES = [encode_png(draw_scene("anger", size=48, seed=seed).image) for seed in range(3)]
Served = tuple[TestClient, Recognizer]


class InThisProcess(httpx.BaseTransport):
    """Passes requests on to an application in this process."""

    def __init__(self, application: TestClient) -> None:
        self._application = application

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        reply = self._application.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers=dict(request.headers),
        )
        return httpx.Response(reply.status_code, headers=dict(reply.headers), content=reply.content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with interface(tmp_path_factory.mktemp("checkpoint"), max_depth=5) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(URL, transport=InThisProcess(served[0]), retries=0) as found:
        yield found


def aclient(served: Served) -> AsyncClient:
    return AsyncClient(URL, transport=httpx.ASGITransport(app=served[0].app), retries=0)


def pixels_of(encoded: bytes) -> np.ndarray:
    return decode_square(encoded, 32)


def computed(recognizer: Recognizer, network: Domain, **settings: Any) -> Computed:
    """The explanation of the first scene without a service."""
    found = ExplainerSettings(**settings)
    return found.explainer().explain(
        recognizer.evaluator(pixels_of(SCENES[0]), found, domain=network)
    )


@pytest.mark.parametrize("network", ["ier", "fer"])
def test_a_prediction_is_that_of_the_network(
    client: Client, served: Served, network: Domain, tmp_path: Path
) -> None:
    recognizer = served[1]
    expected = recognizer.probabilities(pixels_of(SCENES[0])[None], domain=network)[0]
    (tmp_path / "a.png").write_bytes(SCENES[0])
    for image in (SCENES[0], tmp_path / "a.png", str(tmp_path / "a.png"), io.BytesIO(SCENES[0])):
        found = client.predict(image, network=network)
        np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-6)
        assert found.label == recognizer.manifest.classes[int(expected.argmax())]
        assert found.weights_sha256 == recognizer.manifest.weights_sha256


def test_without_a_name_the_network_is_that_of_whole_images(client: Client) -> None:
    assert client.predict(SCENES[0]) == client.predict(SCENES[0], network="ier")
    assert client.predict(SCENES[0]) != client.predict(SCENES[0], network="fer")
    assert client.info().name == client.cost(depth=1).network == "ier"


def test_of_several_images_a_bad_one_fails_alone(client: Client, served: Served) -> None:
    found = client.predict([SCENES[0], b"no image", SCENES[1]])
    assert isinstance(found[1], Refused)
    assert (found[1].error.status, found[1].error.error) == (415, "unidentified")
    expected = served[1].probabilities(np.stack([pixels_of(SCENES[n]) for n in (0, 1)]))
    for reply, row in ((found[0], expected[0]), (found[2], expected[1])):
        assert isinstance(reply, PredictionReply)
        np.testing.assert_allclose(list(reply.probabilities.values()), row, atol=1e-6)
    explained = client.explain_many((SCENES[0], b"no image"), depth=2)
    assert isinstance(explained[0], Explanation)
    assert explained[0].leaves == client.explain(SCENES[0], depth=2).leaves
    assert isinstance(explained[1], Refused)


@pytest.mark.parametrize("network", ["ier", "fer"])
def test_an_explanation_is_that_of_the_network(
    client: Client, served: Served, network: Domain
) -> None:
    expected = computed(served[1], network, depth=4, score="logit")
    found = client.explain(SCENES[0], network=network, depth=4, score="logit", target="sad")
    sad = served[1].manifest.label_scheme.index("sad")
    values = [leaf.value for leaf in found.leaves]
    np.testing.assert_allclose(values, expected.leaf_values(sad), atol=1e-5)
    assert (found.target, found.network, found.complete) == ("sad", network, True)
    assert ExplainerSettings.model_validate(found.settings).depth == 4
    assert [level.level for level in found.levels] == [0, 1, 2, 3, 4]


def test_arrays_are_those_of_the_network(client: Client, served: Served) -> None:
    expected = computed(served[1], "ier", depth=3)
    found = client.credits(SCENES[0], depth=3)
    np.testing.assert_allclose(found["credits"], expected.credits, atol=1e-6)
    np.testing.assert_array_equal(found["rectangles"], expected.tree.rectangles)
    arrays = client.arrays(SCENES[0], depth=3)
    assert arrays.complete
    assert arrays.weights_sha256 == served[1].manifest.weights_sha256


def test_a_heat_map_is_what_the_interface_draws(client: Client, served: Served) -> None:
    asked = served[0].post(
        "/v1/models/ier:explain?depth=3", content=SCENES[0], headers={"accept": "image/png"}
    )
    assert client.heat_map(SCENES[0], depth=3) == asked.content
    assert asked.headers["explanation-complete"] == "true"


def test_levels_come_one_after_the_other_and_then_the_whole(client: Client) -> None:
    found = list(client.levels(SCENES[1], depth=3))
    assert [len(each.levels) for each in found] == [*(n + 1 for n in range(len(found) - 1)), 4]
    whole = client.explain(SCENES[1], depth=3)
    assert found[-1].leaves == whole.leaves
    for number, each in enumerate(found):
        assert each.levels == whole.levels[: len(each.levels)], number


def test_a_cost_is_told(client: Client) -> None:
    found = client.cost(depth=3, budget=None)
    assert (found.evaluations, found.admitted, found.refusal) == (4 * 2**3 - 4, True, None)
    assert client.explain(SCENES[2], depth=3).evaluations == found.evaluations


def test_refusals_are_errors_of_the_service(client: Client) -> None:
    with pytest.raises(ProblemError) as caught:
        client.explain(SCENES[0], depth=6)
    assert (caught.value.status, caught.value.error) == (422, "bad_parameter")
    assert "depth: must be <= 5, got 6" in caught.value.detail
    assert isinstance(caught.value, ServiceError)
    with pytest.raises(ProblemError, match="target: must be one of"):
        list(client.levels(SCENES[0], depth=1, target="awe"))
    with pytest.raises(ProblemError, match="Extra inputs"):
        client.explain(SCENES[0], levels=3)  # type: ignore[call-arg]
    with pytest.raises(ProblemError, match="415"):
        client.predict(b"no image")


def test_images_that_cannot_be_read(client: Client, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.png: cannot be read: No such file"):
        client.predict(tmp_path / "gone.png")
    with pytest.raises(TypeError, match="open it with mode 'rb'"):
        client.predict(io.StringIO("text"))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="got int"):
        client.predict(3)  # type: ignore[call-overload]


def in_short(found: list[PredictionReply | Refused]) -> list[Any]:
    """What does not depend on which predictions share a batch."""
    return [
        each.error if isinstance(each, Refused) else (each.label, round(each.probability, 5))
        for each in found
    ]


def test_the_clients_say_the_same(client: Client, served: Served, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(SCENES[0])

    async def asked() -> list[Any]:
        async with aclient(served) as other:
            parameters: Parameters = {"depth": 2, "target": "sad"}
            return [
                await other.info(network="fer"),
                await other.predict(tmp_path / "a.png"),
                in_short(await other.predict([SCENES[0], tmp_path / "a.png", b"x"])),
                (await other.explain(SCENES[0], **parameters)).leaves,
                len(await other.explain_many([SCENES[0], b"x"], depth=1)),
                [each.levels async for each in other.levels(SCENES[0], depth=2)][-1],
                (await other.cost(depth=2)).evaluations,
                await other.heat_map(SCENES[0], depth=2),
                (await other.credits(SCENES[0], depth=2))["credits"].tolist(),
            ]

    expected = [
        client.info(network="fer"),
        client.predict(SCENES[0]),
        in_short(client.predict([SCENES[0], SCENES[0], b"x"])),
        client.explain(SCENES[0], depth=2, target="sad").leaves,
        2,
        client.explain(SCENES[0], depth=2).levels,
        client.cost(depth=2).evaluations,
        client.heat_map(SCENES[0], depth=2),
        client.credits(SCENES[0], depth=2)["credits"].tolist(),
    ]
    assert asyncio.run(asked()) == expected


def test_the_clients_have_the_same_methods() -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        return {
            name.removeprefix("a") if name == "aclose" else name: list(
                inspect.signature(method).parameters
            )
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert signatures(Client) == signatures(AsyncClient)
