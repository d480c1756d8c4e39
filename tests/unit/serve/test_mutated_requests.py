"""Damaged uploads, forms and JSON: each gets a declared reply, and the service goes on."""

from __future__ import annotations

import random
from pathlib import Path

from support.image_files import variants
from support.interface import interface
from support.mutations import DECLARED, PATHS, REQUESTS, request_of


def test_no_damaged_request_is_the_services_fault(tmp_path: Path) -> None:
    files = [file for several in variants().values() for file in several]
    draw, statuses = random.Random(0), dict[int, int]()
    with interface(tmp_path, max_upload_bytes=200_000, max_upload_pixels=10**6) as (client, _):
        for number in range(REQUESTS):
            media, body = request_of(files, draw)
            headers = {b"content-type": media.encode("latin-1")}
            reply = client.post(draw.choice(PATHS), content=body, headers=headers)
            assert reply.status_code in DECLARED, (number, reply.text)
            statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
            if reply.status_code != 200:
                assert reply.headers["content-type"] == "application/problem+json"
                assert reply.json()["status"] == reply.status_code
        assert client.get("/healthz").status_code == 200
    assert {200, 400, 415} <= set(statuses)
