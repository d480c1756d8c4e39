"""The interface's document and its page, and that the interface does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser
from support.interface import interface
from support.violations import of_application

Json = dict[str, Any]
PATHS = {
    "/healthz": "get",
    "/v1/models": "get",
    "/v1/models/{network}": "get",
    "/v1/models/{network}/ready": "get",
    "/v1/models/{network}:predict": "post",
    "/v1/models/{network}:cost": "get",
    "/v1/models/{network}:explain": "post",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits: Json = {"max_depth": 3, "max_instances": 5, "explainer": {"depth": 2}}
    with interface(tmp_path_factory.mktemp("checkpoint"), **limits) as (client, _):
        yield client


@pytest.fixture
def document(client: TestClient) -> Json:
    return dict(client.get("/openapi.json").json())


def test_the_document_has_the_limits_of_this_service(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    assert {path: next(iter(each)) for path, each in document["paths"].items()} == PATHS
    query = document["paths"]["/v1/models/{network}:explain"]["post"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in query}
    assert (schemas["depth"]["maximum"], schemas["depth"]["default"]) == (3, 2)
    assert schemas["target"]["enum"] == ["happy", "sad", "hate", "anger"]
    assert (schemas["budget"]["type"], "default" in schemas["budget"]) == ("integer", False)
    parameters = document["components"]["schemas"]["DryRunParameters"]
    assert parameters["properties"]["depth"]["maximum"] == 3
    assert parameters["additionalProperties"] is False
    for name in ("PredictInstances", "ExplainInstances"):
        instances = document["components"]["schemas"][name]["properties"]["instances"]
        assert (instances["minItems"], instances["maxItems"]) == (1, 5)


def test_every_error_is_a_problem_and_every_reference_leads_somewhere(document: Json) -> None:
    statuses = {}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            statuses[path] = set(operation["responses"])
            for status, reply in operation["responses"].items():
                if status >= "400":
                    assert list(reply["content"]) == ["application/problem+json"]
    assert statuses["/healthz"] == {"200", "404", "405", "408", "500", "503"}
    predict = {"200", "400", "404", "405", "408", "413", "415", "422", "500", "503"}
    assert statuses["/v1/models/{network}:predict"] == predict
    assert statuses["/v1/models/{network}:explain"] == predict | {"406", "504"}
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in json.dumps(document)


def test_the_page_has_everything_that_the_document_has(client: TestClient, document: Json) -> None:
    reply = client.get("/docs")
    page = reply.text
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    for path, method in PATHS.items():
        assert f'<span class="method">{method.upper()}</span> <code>{path}</code>' in page
    for name, schema in document["components"]["schemas"].items():
        assert f'<section id="{name}">' in page
        for field in schema.get("properties", {}):
            assert f"<dt><code>{field}</code>" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_on_a_phone(client: TestClient, browser: Browser, scheme: Any) -> None:
    reply = client.get("/docs")
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.route(
        "**/*",
        lambda route: route.fulfill(body=reply.content, headers=dict(reply.headers), status=200),
    )
    page.goto("http://service/docs")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 27, 32)"
    assert dark == (scheme == "dark")  # the policy lets the style be
    page.click("nav a >> text=:explain")
    assert page.url.endswith("#explain")
    assert [each for each in told if "favicon" not in each] == []
    page.close()


def test_schemathesis_finds_nothing(client: TestClient) -> None:
    found, replies = of_application(client.app, examples=20)
    assert found == []
    assert replies > 500
