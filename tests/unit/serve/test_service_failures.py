"""What clients are told when the service fails, and what they are not told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace

import pytest
from fastapi.testclient import TestClient
from support.interface import interface

from ier_ray.data.images import encode_png
from ier_ray.data.synthetic import draw_scene
from ier_ray.serve.answers import Answer, ExplainRequest, Predicted
from ier_ray.serve.api import Api
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.replies import events
from ier_ray.serve.schemas import ExplainParameters
from ier_ray.serve.service import Service

EXPLAIN = "/v1/models/ier:explain"
SCENE = encode_png(draw_scene("anger", size=48, seed=1).image)
BODY = {"instances": [{"b64": base64.b64encode(SCENE).decode()}] * 3, "parameters": {"depth": 1}}


@dataclass
class Failing:
    """Explainers that answer so many requests, and fail then."""

    real: Service
    error: Exception
    answered: int = 0

    async def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """As the protocol says."""
        self.answered -= 1
        if self.answered < 0:
            raise self.error
        async for answer in self.real.explainers.answers(request):
            yield answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with interface(tmp_path_factory.mktemp("checkpoint")) as (client, _):
        yield client.app.state.service()  # type: ignore[attr-defined]


def client_of(service: Service, error: Exception, answered: int = 0) -> TestClient:
    failing = replace(service, explainers=Failing(service, error, answered))
    return TestClient(Api(lambda: failing), raise_server_exceptions=False)


BUSY = RefusedError.busy("64 explanations are computed already", 3.2)


@pytest.mark.parametrize("path", [f"{EXPLAIN}?depth=1", "/v1/models/ier:cost?depth=1"])
def test_internals_are_not_told(service: Service, path: str) -> None:
    client = client_of(service, RuntimeError("/home/secret/checkpoint"))
    reply = client.request("GET" if "cost" in path else "POST", path, content=SCENE)
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json() == {
        "type": "urn:ier-ray:problem:internal",
        "title": "Internal",
        "status": 500,
        "detail": "the request failed; the service's log says why",
        "instance": path.partition("?")[0],
        "error": "internal",
    }


@pytest.mark.parametrize("path", [f"{EXPLAIN}?depth=1", "/v1/models/ier:cost?depth=1"])
def test_a_busy_service_says_when_to_try_again(service: Service, path: str) -> None:
    client = client_of(service, BUSY)
    reply = client.request("GET" if "cost" in path else "POST", path, content=SCENE)
    assert (reply.status_code, reply.json()["error"]) == (503, "busy")
    assert reply.headers["retry-after"] == "4"


def test_several_images_are_refused_together_only_if_the_service_failed_for_all(
    service: Service,
) -> None:
    none = client_of(service, BUSY, answered=1).post(EXPLAIN, json=BODY)  # their cost, no more
    assert (none.status_code, none.headers["retry-after"]) == (503, "4")
    some = client_of(service, BUSY, answered=2).post(EXPLAIN, json=BODY)
    assert some.status_code == 200
    places = some.json()["predictions"]
    assert sorted("leaves" in each for each in places) == [False, False, True]
    problem = next(each["error"] for each in places if "error" in each)
    assert (problem["status"], problem["error"]) == (503, "busy")


def test_a_stream_that_breaks_ends_with_a_problem(service: Service) -> None:
    async def collected() -> list[str]:
        asked = ExplainRequest(SCENE, "ier", ExplainParameters(depth=3), levels=True)
        real = service.explainers.answers(asked)
        first = await anext(real)

        async def breaking() -> AsyncGenerator[Answer | Predicted, None]:
            yield await anext(real)
            raise RefusedError(503, "explainer_lost", "the explainer has died", 1.0)

        found = [each async for each in events(first, breaking(), EXPLAIN)]
        await real.aclose()
        return found

    levels = asyncio.run(collected())
    assert [each.partition("\n")[0] for each in levels] == ["event: level"] * 2 + ["event: error"]
    problem = json.loads(levels[-1].partition("data: ")[2])
    assert (problem["status"], problem["error"]) == (503, "explainer_lost")
    assert problem["type"] == "urn:ier-ray:problem:explainer_lost"
    assert problem["instance"] == EXPLAIN


def test_an_explanation_ends_while_its_client_still_reads_the_first_level(
    service: Service,
) -> None:
    async def test() -> None:
        asked = ExplainRequest(SCENE, "ier", ExplainParameters(depth=3), levels=True)
        real, taken = service.explainers.answers(asked), asyncio.Event()

        async def noted() -> AsyncGenerator[Answer | Predicted, None]:
            async for each in real:
                yield each
            taken.set()

        answers = noted()
        stream = events(await anext(answers), answers, EXPLAIN)
        found = [await anext(stream), await anext(stream)]
        async with asyncio.timeout(60):  # nothing more is read, and yet all is taken
            await taken.wait()
        found += [each async for each in stream]
        assert [each.partition("\n")[0] for each in found] == ["event: level"] * 3 + [
            "event: explanation"
        ]

    asyncio.run(test())


def test_a_client_that_leaves_its_stream_ends_the_explanation(service: Service) -> None:
    async def test() -> None:
        asked = ExplainRequest(SCENE, "ier", ExplainParameters(depth=3), levels=True)
        real, closed = service.explainers.answers(asked), asyncio.Event()

        async def endless() -> AsyncGenerator[Answer | Predicted, None]:
            try:
                yield await anext(real)
                await asyncio.Event().wait()
            finally:
                closed.set()

        answers = endless()
        stream = events(await anext(answers), answers, EXPLAIN)
        await anext(stream)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert closed.is_set()
        await real.aclose()

    asyncio.run(test())
