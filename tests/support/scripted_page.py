"""The page in a browser with replies that a test writes; no service runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, Route

from ier_ray.explain.regions import RegionTree
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.serve.web_page import serve_page

URL = "http://localhost:9/"  # nothing listens there: all replies are scripted
SIDE = 16
SAID = {
    "ier": {"happy": 0.25, "sad": 0.7, "anger": 0.05},
    "fer": {"happy": 0.9, "sad": 0.0993, "anger": 0.0007},
}
Reply = tuple[int, str, str | bytes]


def as_json(content: Any, status: int = 200) -> Reply:
    return status, "application/json", json.dumps(content)


def leaves(depth: int, seed: int = 0) -> list[dict[str, Any]]:
    tree = RegionTree.halving(SIDE, SIDE, depth=depth)
    credit = np.random.default_rng(seed).normal(size=2**depth)
    names = ("top", "bottom", "left", "right")
    rectangles = tree.rectangles[tree.leaves].tolist()
    return [
        {**dict(zip(names, each, strict=True)), "value": value, "deviation": None, "spread": None}
        for each, value in zip(rectangles, credit.tolist(), strict=True)
    ]


def explanation(depth: int, target: str = "sad", **changes: Any) -> dict[str, Any]:
    return {
        "target": target,
        "image_size": SIDE,
        "full": 0.7,
        "empty": 0.2,
        "evaluations": 252,
        "settings": ExplainerSettings(baseline="blur").model_dump(),
        "leaves": leaves(depth),
        "complete": True,
        "weights_sha256": "0" * 64,
        **changes,
    }


def event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


@dataclass
class Service:
    """The page's files as they are, and scripted replies by the last part of the path."""

    client: TestClient
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, route: Route) -> None:
        path = urlsplit(route.request.url).path
        name = path.rpartition("/")[2]
        if path.startswith("/v1/"):
            self.asked.append(name)
            accepted = route.request.headers["accept"].partition(",")[0]
            reply = self.replies.get(f"{name} {accepted}", self.replies[name])
            status, media_type, body = reply
            route.fulfill(status=status, content_type=media_type, body=body)
        else:
            sent = self.client.get(path)
            headers = dict(sent.headers)
            route.fulfill(status=sent.status_code, headers=headers, body=sent.content)


def scripted_service() -> Service:
    """A service of both networks that explains every picture with two levels."""
    api = FastAPI()
    serve_page(api)
    found = Service(TestClient(api))
    for network, said in SAID.items():
        label = max(said, key=lambda name: said[name])
        found.replies[network] = as_json(
            {
                "name": network,
                "classes": list(said),
                "architecture": "emotion_net",
                "epoch": 3,
                "weights_sha256": "abcdef0123456789",
            }
        )
        found.replies[f"{network}:predict"] = as_json({"label": label, "probabilities": said})
    events = event("level", explanation(0)) + event("explanation", explanation(2))
    found.replies["ier:explain"] = (200, "text/event-stream", events)
    return found


JOB = "0123456789abcdef" * 2


def job_reply(state: str, **image: Any) -> Reply:
    parts = {"state": state, "level": None, "rows": 0, "explanation": None, "error": None}
    content = {
        "id": JOB,
        "state": state,
        "network": "ier",
        "settings": ExplainerSettings().model_dump(),
        "target": None,
        "created": "2026-01-02T03:04:05Z",
        "ended": None,
        "images": [parts | image],
    }
    return as_json(content)


@contextmanager
def scripted_page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page with these replies; its scripts make no errors."""
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("**/*", service.answer)
    page.goto(URL)
    yield page
    context.close()
    assert errors == []
