"""The page at ``/``: a picture, its probabilities, and the map of their credits.

Plain files, no build step: ``page/`` beside this module. They load nothing from elsewhere, and the
content security policy holds the browser to that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from ier_ray.data.images import encode_png
from ier_ray.data.synthetic import EMOTIONS, draw_scene

INDEX = "index.html"
MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}
"""Of everything the page consists of, beside those that every reply has."""
REVALIDATED = "no-cache"
"""A browser asks each time, and gets a 304 unless the service has another version by now."""
EXAMPLE_SIDE = 256
"""Side of a drawn example in pixels."""
LARGEST_SEED = 9_999

Seed = Annotated[int, Path(ge=0, le=LARGEST_SEED)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file of the page, as it is sent."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Asset:
        """With the hash of its content as the entity tag."""
        return cls(content, media_type, f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"')

    def reply(self, request: Request) -> Response:
        """The file, or a 304 to a client that has it (RFC 9110, section 13.1.2)."""
        headers = {**HEADERS, "etag": self.etag, "cache-control": REVALIDATED}
        known = request.headers.get("if-none-match", "").split(",")
        if {"*", self.etag} & {tag.strip().removeprefix("W/") for tag in known}:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def serve_page(api: FastAPI) -> None:
    """Add the page, its files and its examples to an interface."""
    api.include_router(router)


@router.get("/")
@router.head("/")
async def index(request: Request) -> Response:
    """The page."""
    return assets()[INDEX].reply(request)


@router.get("/page/{name}")
@router.head("/page/{name}")
async def asset(request: Request, name: str) -> Response:
    """A file that the page loads."""
    if name not in assets():
        raise HTTPException(404, "the page has no such file")
    return assets()[name].reply(request)


@router.get("/page/examples/{seed}.png")
@router.head("/page/examples/{seed}.png")
async def example(request: Request, seed: Seed) -> Response:
    """A drawn scene, the same for the same seed."""
    drawn = await run_in_threadpool(drawing, seed)
    return drawn.reply(request)


@cache
def assets() -> Mapping[str, Asset]:
    """The files of the page by their names."""
    directory = files("ier_ray.serve").joinpath("page")
    return {
        file.name: Asset.of(file.read_bytes(), MEDIA_TYPES[PurePath(file.name).suffix])
        for file in directory.iterdir()
    }


@lru_cache(maxsize=64)
def drawing(seed: int) -> Asset:
    """A scene of the emotion that the seed chooses, as PNG."""
    emotion = EMOTIONS[seed % len(EMOTIONS)]
    return Asset.of(
        encode_png(draw_scene(emotion, size=EXAMPLE_SIDE, seed=seed).image), "image/png"
    )
