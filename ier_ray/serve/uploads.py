"""Reading a request's image, raw or multipart; its size is checked before decoding."""

from fastapi import Request
from starlette.datastructures import UploadFile

from ier_ray.data.images import Pixels
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.errors import ImageError

FORM_FIELD = "image"
FORM_OVERHEAD = 64 * 1024
"""Bytes that a multipart body may have besides the image."""


class UploadError(Exception):
    """An upload that cannot be used."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error


async def read_pixels(
    request: Request, *, preprocessing: Preprocessing, max_bytes: int, max_pixels: int
) -> Pixels:
    """The uploaded image, resized to the network's input, ``(S, S, 3)``.

    Raises:
        UploadError: with status 413 when too large, 415 when not an image, 400 when missing.
    """
    encoded = await _encoded(request, max_bytes)
    if not encoded:
        raise UploadError(
            400,
            "missing_image",
            f"send the image's bytes as the body, or as the multipart field {FORM_FIELD!r}",
        )
    try:
        return preprocessing.decode(encoded, max_pixels=max_pixels)
    except ImageError as error:
        status = 413 if error.reason == "too_large" else 415
        raise UploadError(status, error.reason, str(error)) from error


async def _encoded(request: Request, max_bytes: int) -> bytes:
    multipart = request.headers.get("content-type", "").startswith("multipart/form-data")
    limit = max_bytes + (FORM_OVERHEAD if multipart else 0)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise UploadError(
                413, "too_large", f"the upload has more than the {max_bytes} bytes allowed"
            )
    if not multipart:
        return bytes(body)
    request._body = bytes(body)  # the form parser reuses the body read here
    async with request.form(max_files=1, max_fields=8) as form:
        field = form.get(FORM_FIELD)
        return await field.read() if isinstance(field, UploadFile) else b""
