"""What the service makes of uploads, forms and headers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from PIL import Image

from ier_ray.data.images import encode_png
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.serve import decoding
from ier_ray.serve.decoding import Decoder
from ier_ray.serve.disconnection import unless_disconnected
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.negotiation import preferred
from ier_ray.serve.uploads import read_upload

JSON, PNG, EVENTS = "application/json", "image/png", "text/event-stream"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/json;q=0.2, image/png;q=0.9", PNG),
        ("image/png;q=0.2, application/json ; q=0.9", JSON),
        ("image/png;q=0, */*", JSON),
        ("text/html, image/png;q=0.5, */*;q=0.1", PNG),
        ("application/json;q=0, image/*;q=0, */*;q=0.1", EVENTS),
        ("image/png;q=none, application/json;q=0.1", JSON),
        ("text/event-stream, application/json;q=0.9", EVENTS),
    ],
)
def test_the_preferred_media_type(accept: str, expected: str) -> None:
    assert preferred(accept, (JSON, PNG, EVENTS)) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "*/*;q=0", "image/png;q=0"])
def test_nothing_acceptable_is_a_406(accept: str) -> None:
    with pytest.raises(RefusedError, match="has none of application/json, image/png") as refused:
        preferred(accept, (JSON, PNG, EVENTS))
    assert refused.value.status == 406


def request(body: bytes, content_type: str = "image/png", part: int = 7) -> Request:
    """A request whose body comes in parts."""
    parts = [body[start : start + part] for start in range(0, len(body), part)] or [b""]
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in parts]
    messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    headers = [(b"content-type", content_type.encode())]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    return Request(scope, receive)


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = [
        b'--X\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in fields
    ]
    return b"".join(parts) + b"--X--\r\n"


def read(asked: Request, max_bytes: int = 100) -> bytes:
    return asyncio.run(read_upload(asked, max_bytes=max_bytes))


FORM = "multipart/form-data; boundary=X"
ONE, TWO, NINE = (form(*[("image", b"a")] * count) for count in (1, 2, 9))


@pytest.mark.parametrize(
    "media", ["multipart/form-data", "Multipart/Form-Data", "MULTIPART/FORM-DATA"]
)
def test_a_form_is_read_in_any_case(media: str) -> None:
    assert read(request(ONE, f"{media}; boundary=X")) == b"a"
    assert read(request(b"abc")) == b"abc"


def test_a_form_needs_no_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")  # as a full disk: no file can be made
    image = bytes(3_000_000)
    asked = request(form(("image", image)), FORM, part=500_000)
    assert read(asked, max_bytes=4_000_000) == image


@pytest.mark.parametrize(
    ("body", "content_type", "status", "error", "detail"),
    [
        (b"", "image/png", 400, "missing_image", "multipart field 'image'"),
        (form(("picture", b"a")), FORM, 400, "missing_image", "'image'"),
        (ONE, "multipart/form-data", 400, "bad_form", "Missing boundary"),
        (ONE, "multipart/form-data; boundary=Y", 400, "bad_form", "cannot be read"),
        (TWO, FORM, 400, "several_images", "2 files in the field 'image'"),
        (NINE, FORM, 400, "bad_form", "Too many files"),
        (b"x" * 101, "image/png", 413, "too_large", "more than the 100 bytes allowed"),
        (form(("image", b"x" * 101)), FORM, 413, "too_large", "more than the 100 bytes"),
    ],
)
def test_uploads_that_cannot_be_used(
    body: bytes, content_type: str, status: int, error: str, detail: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        read(request(body, content_type))
    assert (refused.value.status, refused.value.error) == (status, error)
    assert detail in refused.value.detail


def test_a_refusal_travels_between_processes() -> None:
    sent = RefusedError(503, "busy", "later", retry_after_s=2.5)
    found = pickle.loads(pickle.dumps(sent))  # noqa: S301 (our own bytes)
    assert (found.status, found.error, found.detail, found.retry_after_s) == sent.args


def test_as_many_images_are_decoded_at_once_as_pixels_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "THREADS", 4)
    encoded = encode_png(np.zeros((10, 10, 3), np.uint8))
    lock, now, most = threading.Lock(), 0, 0

    class Slow(Preprocessing):
        def decode(self, encoded: bytes, **limits: Any) -> Any:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.05)
            with lock:
                now -= 1
            return super().decode(encoded, **limits)

    async def decode_all(pixels_at_once: int) -> None:
        decoder = Decoder(Slow(8), max_pixels=10**6, pixels_at_once=pixels_at_once)
        await asyncio.gather(*(decoder.decode(encoded) for _ in range(8)))

    for pixels_at_once, expected in ((50, 1), (200, 2), (10**6, 4)):
        most = 0
        asyncio.run(decode_all(pixels_at_once))
        assert most == expected


def test_the_event_loop_goes_on_while_large_images_are_decoded() -> None:
    """One-bit PNGs of 7000x7000 pixels take a second each, and a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (7000, 7000)).save(buffer, format="PNG")
    decoder = Decoder(Preprocessing(32), max_pixels=50_000_000, pixels_at_once=50_000_000)

    async def longest_pause() -> float:
        loop = asyncio.get_running_loop()
        decoding = [asyncio.create_task(decoder.decode(buffer.getvalue())) for _ in range(3)]
        pauses, before = [], loop.time()
        while not all(each.done() for each in decoding):
            await asyncio.sleep(0.005)
            now = loop.time()
            pauses.append(now - before)
            before = now
        return max(pauses) / sum(pauses)

    assert asyncio.run(longest_pause()) < 0.5


def test_work_is_cancelled_when_the_client_disconnects() -> None:
    async def disconnect() -> list[str]:
        happened: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                happened.append("cancelled")

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        with pytest.raises(asyncio.CancelledError):
            await unless_disconnected(Request({"type": "http"}, receive), work())
        return happened

    assert asyncio.run(disconnect()) == ["cancelled"]


def test_work_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def disconnect() -> float:
        async def work() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        before = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.CancelledError):
            await unless_disconnected(Request({"type": "http"}, receive), work())
        return asyncio.get_running_loop().time() - before

    assert asyncio.run(disconnect()) < 30


def test_work_of_a_client_that_stays_is_finished() -> None:
    async def stay() -> int:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            raise AssertionError

        async def work() -> int:
            return 7

        return await unless_disconnected(Request({"type": "http"}, receive), work())

    assert asyncio.run(stay()) == 7
