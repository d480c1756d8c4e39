"""Tokens, limits, origins and headers, by requests to an application behind the middleware."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from limits.errors import StorageError
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message, Receive, Scope, Send

from ier_ray.errors import SettingsError
from ier_ray.serve import access
from ier_ray.serve.access import CLIENT, HEADERS, Access, Guard, require_tokens
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.tokens import create_token, revoke_token

MEMORY = "async+memory://"
PATH = "/v1/models/ier"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "tokens.json")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    Access.guard, Access.origins = None, ()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Replies with the client's name."""
    own = [(b"cache-control", b"max-age=60")] if scope["path"] == "/cached" else []
    await send({"type": "http.response.start", "status": 200, "headers": own})
    client = CLIENT.get()
    name = client.name if client else "nobody"
    await send({"type": "http.response.body", "body": name.encode()})


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def ask(*requests: tuple[str, dict[str, str]], method: str = "GET") -> list[httpx.Response]:
    """The replies to paths with headers, one after the other."""

    async def asked() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=Access(application))
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            return [
                await client.request(method, path, headers=headers) for path, headers in requests
            ]

    return asyncio.run(asked())


def test_without_a_guard_everybody_is_served() -> None:
    (reply,) = ask((PATH, {}))
    assert (reply.status_code, reply.text) == (200, "nobody")


def test_only_who_has_a_token_is_served_under_the_token_s_name(file: str) -> None:
    secrets = {name: create_token(file, name) for name in ("ann", "bob")}
    Access.guard = Guard(file, MEMORY)
    known = ask(*((PATH, bearer(secret)) for secret in secrets.values()))
    assert [reply.text for reply in known] == ["ann", "bob"]
    assert ask((PATH, {"authorization": f"bearer  {secrets['ann']} "}))[0].text == "ann"
    ann = secrets["ann"]
    refused = [
        {},
        bearer(""),
        bearer("ier_wrong"),
        bearer(ann[:-1]),
        bearer(ann + "x"),
        {"authorization": ann},
        {"authorization": f"Basic {ann}"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"},
    ]
    for reply in ask(*((PATH, headers) for headers in refused)):
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == 'Bearer realm="ier_ray"'
        assert "ann" not in reply.text


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer " + b"x" * 60_000,
        b"Bearer " + "ier_\N{SNOWMAN}".encode(),
        b"Bearer \xff\xfe\x00",
        b"bearer\tier_wrong",
        b"Bearer " * 2_000,
    ],
)
def test_no_header_is_too_strange_to_be_refused(file: str, header: bytes) -> None:
    create_token(file, "ann")
    Access.guard = Guard(file, MEMORY)

    async def asked() -> int:
        statuses: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "path": PATH, "headers": [(b"authorization", header)]}
        await Access(application)(scope, receive, send)
        return statuses[0]

    assert asyncio.run(asked()) == 401


def test_of_several_tokens_none_counts(file: str) -> None:
    ann = create_token(file, "ann")
    Access.guard = Guard(file, MEMORY)

    async def asked(*secrets: str) -> int:
        transport = httpx.ASGITransport(app=Access(application))
        headers = [("authorization", f"Bearer {secret}") for secret in secrets]
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            return (await client.get(PATH, headers=headers)).status_code

    for secrets, status in (((ann,), 200), ((ann, "wrong"), 401), (("wrong", ann), 401)):
        assert asyncio.run(asked(*secrets)) == status


def test_health_the_page_and_the_description_need_no_token(file: str) -> None:
    create_token(file, "ann")
    Access.guard = Guard(file, MEMORY)
    found = ["/healthz", "/", "/page/page.js", "/page/examples/1.png", "/docs", "/openapi.json"]
    assert {reply.status_code for reply in ask(*((path, {}) for path in found))} == {200}
    kept = [PATH, "/healthz/x", "/pages", "/page", "/docs/x", f"{PATH}:predict", "/v1/x"]
    assert {reply.status_code for reply in ask(*((path, {}) for path in kept))} == {401}


def test_a_secret_is_compared_with_every_token(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [create_token(file, name) for name in ("ann", "bob", "eve")]
    Access.guard = Guard(file, MEMORY)
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for secret in (*secrets, "ier_wrong"):
        compared.clear()
        ask((PATH, bearer(secret)))
        assert len(compared) == 3  # the same work, wherever the token is in the file


def test_beyond_its_limit_a_token_waits_and_others_do_not(file: str) -> None:
    ann, bob = create_token(file, "ann", requests="3/minute"), create_token(file, "bob")
    Access.guard = Guard(file, MEMORY)
    replies = ask(*[(PATH, bearer(ann))] * 5, *[(PATH, bearer(bob))] * 5)
    assert [reply.status_code for reply in replies] == [200] * 3 + [429] * 2 + [200] * 5
    assert 50 <= int(replies[3].headers["retry-after"]) <= 61
    assert "3/minute" in replies[3].json()["detail"]


def test_predicted_seconds_are_counted_by_token(file: str) -> None:
    secrets = {
        "ann": create_token(file, "ann", compute="10/hour"),
        "bob": create_token(file, "bob"),
    }
    guard = Access.guard = Guard(file, MEMORY)

    async def charged(name: str, *seconds: float) -> list[int]:
        token = await guard.admit(f"Bearer {secrets[name]}")
        statuses = []
        for each in seconds:
            try:
                await guard.charge(token, each)
                statuses.append(200)
            except RefusedError as refused:
                statuses.append(refused.status)
        return statuses

    # 4.5 + 4.5 s fit into 10 s an hour, 1.5 s more do not, 0.9 s do; 11 s never do.
    assert asyncio.run(charged("ann", 4.5, 4.5, 1.5, 0.9, 11.0)) == [200, 200, 429, 200, 422]
    assert asyncio.run(charged("bob", 1000.0, 1000.0)) == [200, 200]


def test_what_has_a_name_is_paid_once(file: str) -> None:
    secrets = [create_token(file, name, compute="10/hour") for name in ("ann", "bob")]
    guard = Access.guard = Guard(file, MEMORY)

    async def charge() -> None:
        ann, bob = [await guard.admit(f"Bearer {secret}") for secret in secrets]
        for _ in range(3):
            await guard.charge(ann, 6.0, once="job")
        with pytest.raises(RefusedError):
            await guard.charge(ann, 6.0, once="another")
        with pytest.raises(RefusedError):  # what was refused is not paid
            await guard.charge(ann, 6.0, once="another")
        await guard.charge(bob, 6.0, once="job")
        with pytest.raises(RefusedError):
            await guard.charge(bob, 6.0)

    asyncio.run(charge())


def test_counters_that_cannot_be_reached_refuse_instead_of_letting_all_in(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = create_token(file, "ann", requests="3/minute")
    guard = Access.guard = Guard(file, MEMORY)

    async def lost(*_: object, **__: object) -> bool:
        raise StorageError(OSError("connection refused"))

    monkeypatch.setattr(guard._requests, "hit", lost)
    (reply,) = ask((PATH, bearer(ann)))
    assert reply.status_code == 503
    assert "retry-after" in reply.headers


def test_a_revoked_token_ends_and_a_new_one_begins_without_a_restart(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = create_token(file, "ann")
    guard = Guard(file, MEMORY)
    monkeypatch.setattr(access, "REREAD_S", 0.0)

    async def later() -> list[str]:
        assert (await guard.admit(f"Bearer {ann}")).name == "ann"
        revoke_token(file, "ann")
        bob = create_token(file, "bob")
        found = []
        for _ in range(100):
            try:
                found.append((await guard.admit(f"Bearer {bob}")).name)
                break
            except RefusedError:
                await asyncio.sleep(0.01)
        with pytest.raises(RefusedError):
            await guard.admit(f"Bearer {ann}")
        return found

    assert asyncio.run(later()) == ["bob"]


def test_tokens_stay_when_their_file_becomes_unreadable(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = create_token(file, "ann")
    guard = Guard(file, MEMORY)
    monkeypatch.setattr(access, "REREAD_S", 0.0)
    Path(file).write_text("not json")

    async def twice() -> list[str]:
        first = await guard.admit(f"Bearer {ann}")
        await asyncio.sleep(0.1)
        return [first.name, (await guard.admit(f"Bearer {ann}")).name]

    assert asyncio.run(twice()) == ["ann", "ann"]


def test_every_reply_has_the_headers_that_it_does_not_set_itself() -> None:
    plain, cached = ask((PATH, {}), ("/cached", {}))
    for name, value in HEADERS.items():
        assert plain.headers[name] == value
    assert cached.headers["cache-control"] == "max-age=60"
    assert cached.headers["x-content-type-options"] == "nosniff"


def test_pages_of_other_origins_are_served_only_if_they_are_named(file: str) -> None:
    asked = {"origin": "https://lab.example", "access-control-request-method": "POST"}
    (closed,) = ask((PATH, {"origin": "https://lab.example"}))
    assert "access-control-allow-origin" not in closed.headers
    create_token(file, "ann")
    Access.guard, Access.origins = Guard(file, MEMORY), ("https://lab.example",)
    (before,) = ask((PATH, asked), method="OPTIONS")  # browsers send it without a token
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == "https://lab.example"
    (other,) = ask((PATH, asked | {"origin": "https://evil.example"}), method="OPTIONS")
    assert "access-control-allow-origin" not in other.headers


def test_what_checks_origins_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(CORSMiddleware):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(access, "CORSMiddleware", Counted)
    Access.origins = ("https://lab.example",)
    ask(*[(PATH, {"origin": "https://lab.example"})] * 3)
    assert len(made) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.4", "::", "node.example"])  # noqa: S104
def test_what_others_can_reach_needs_tokens(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"listens on {host}.* args\.tokens"):
        require_tokens(host, None)
    require_tokens(host, "tokens.json")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_own_machine_needs_none(host: str) -> None:
    require_tokens(host, None)


def test_counters_of_an_unknown_kind_are_refused(file: str) -> None:
    create_token(file, "ann")
    with pytest.raises(SettingsError, match=r"args\.counters: 'nonsense://' cannot be used"):
        Guard(file, "nonsense://")
