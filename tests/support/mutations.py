"""Damaged uploads, forms and JSON."""

from __future__ import annotations

import base64
import json
import os
import random

from support.image_fuzz import mutated

REQUESTS = int(os.environ.get("IER_RAY_MUTATED_REQUESTS", "300"))
BOUNDARY = "boundary-of-the-form"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PATHS = ("/v1/models/ier:predict", "/v1/models/fer:predict", "/v1/models/ier:explain?depth=1")
DECLARED = {200, 400, 413, 415, 422}


def form_of(images: list[bytes]) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + image
        + b"\r\n"
        for image in images
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def json_of(images: list[bytes]) -> bytes:
    encoded = [base64.b64encode(image).decode() for image in images]
    body = {"instances": [{"image": {"b64": each}} for each in encoded]}
    return json.dumps(body).encode()


def request_of(files: list[bytes], draw: random.Random) -> tuple[str, bytes]:
    """The media type and the body of a request, one of which is damaged, or an image in it."""
    images = draw.choices(files, k=draw.choice((1, 1, 2, 3)))
    images[0] = mutated(images[0], draw) if draw.random() < 0.5 else images[0]
    media, body = draw.choice(
        (("image/png", images[0]), (FORM, form_of(images)), ("application/json", json_of(images)))
    )
    if draw.random() < 0.5:
        body = mutated(body, draw)
    if draw.random() < 0.2:
        media = mutated(media.encode(), draw).decode("latin-1")
    return "".join(c for c in media if c.isprintable()).strip(), body
