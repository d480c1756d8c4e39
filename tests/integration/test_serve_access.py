"""Tokens of a running service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from support.checkpoints import save_tiny
from support.processes import wait_for
from support.runs import ROOT
from support.service import EXPLAIN, MODEL, PREDICT, events_of, running, scene

from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.tokens import create_token, revoke_token

REFUSED = 401
FORGED = {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of tokens."""
    return str(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def ann(file: str) -> str:
    """A token without a limit."""
    return create_token(file, "ann")


@pytest.fixture(scope="module")
def url(
    cluster: None, file: str, ann: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service that wants tokens."""
    checkpoint = save_tiny(tmp_path_factory.mktemp("served"))
    with running(AppArgs(checkpoint=checkpoint, tokens=file)) as found:
        yield found


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def statuses(url: str, headers: dict[str, str]) -> dict[str, int]:
    """Of one request to each part of the interface."""
    events = headers | {"accept": "text/event-stream"}
    small = {"depth": 1}
    with httpx.Client(base_url=url, timeout=60) as client:
        replies = {
            "info": client.get(MODEL, headers=headers),
            "predict": client.post(PREDICT, content=scene(1), headers=headers),
            "explain": client.post(EXPLAIN, content=scene(1), params=small, headers=headers),
            "events": client.post(EXPLAIN, content=scene(1), params=small, headers=events),
            "unknown": client.get("/v1/nothing", headers=headers),
        }
    return {name: reply.status_code for name, reply in replies.items()}


def test_every_part_of_the_interface_wants_a_token(url: str, ann: str) -> None:
    served = {"info": 200, "predict": 200, "explain": 200, "events": 200, "unknown": 404}
    wait_for(lambda: statuses(url, bearer(ann)) == served)
    for headers in ({}, bearer("ier_wrong"), FORGED, bearer("ier_wrong") | FORGED):
        assert set(statuses(url, headers).values()) == {REFUSED}
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_levels_stream_to_who_has_a_token(url: str, ann: str) -> None:
    headers = bearer(ann) | {"accept": "text/event-stream"}
    with httpx.stream(
        "POST", f"{url}{EXPLAIN}?depth=3", content=scene(2), headers=headers, timeout=60
    ) as reply:
        names = [name for name, _ in events_of(reply)]
    assert names[-1] == "explanation"
    assert names.count("level") >= 3


def test_a_limit_holds_and_a_revoked_token_ends_without_a_restart(url: str, file: str) -> None:
    bob = create_token(file, "bob", requests="5/hour")
    with httpx.Client(base_url=url, headers=bearer(bob), timeout=60) as client:
        wait_for(lambda: client.get(MODEL).status_code == 200, seconds=30)
        found = [client.get(MODEL) for _ in range(6)]
        assert [reply.status_code for reply in found] == [200] * 4 + [429] * 2
        assert int(found[-1].headers["retry-after"]) > 3000
        revoke_token(file, "bob")
        wait_for(lambda: client.get(MODEL).status_code == REFUSED, seconds=30)


def test_explanations_are_charged_by_their_predicted_cost(url: str, file: str) -> None:
    eve = create_token(file, "eve", compute="1/hour")
    with httpx.Client(base_url=url, headers=bearer(eve), timeout=60) as client:
        wait_for(lambda: client.get(MODEL).status_code == 200, seconds=30)
        charged = predicted = 0.0
        while True:  # predictions follow what the last explanations took
            predicted = client.get(f"{MODEL}:cost", params={"depth": 6}).json()["seconds"]
            reply = client.post(EXPLAIN, content=scene(3), params={"depth": 6})
            if not reply.is_success:
                break
            charged += predicted
        assert reply.status_code == 429
        assert reply.json()["error"] == "rate_limited"
        assert 0 < charged <= 1.1 < (charged + predicted) * 1.2
        assert client.post(PREDICT, content=scene(3)).is_success  # costs nothing


def test_a_service_that_others_can_reach_does_not_start_without_tokens(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    content["http_options"] |= {"host": "0.0.0.0", "port": free_port()}  # noqa: S104 (refused)
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "ier_ray.serve.start", str(config)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "the service listens on 0.0.0.0, where others can reach it" in ended.stderr
