"""Reading a request's image, raw or multipart, within a bound of bytes."""

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ier_ray.serve.errors import TOO_LARGE, RefusedError

FORM_FIELD = "image"
FORM_OVERHEAD = 64 * 1024
"""Bytes that a multipart body may have besides the image."""


async def read_upload(request: Request, *, max_bytes: int) -> bytes:
    """The encoded image of a request.

    Raises:
        RefusedError: with status 413 when too large, 400 when missing, given twice, or in a form
            that cannot be read.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    multipart = media_type == "multipart/form-data"
    body = await _body(request, max_bytes, FORM_OVERHEAD if multipart else 0)
    encoded = await _form_field(request, body) if multipart else body
    if len(encoded) > max_bytes:
        raise too_large(max_bytes)
    if not encoded:
        raise RefusedError(
            400,
            "missing_image",
            f"send the image's bytes as the body, or as the multipart field {FORM_FIELD!r}",
        )
    return encoded


def too_large(max_bytes: int) -> RefusedError:
    """The upload has too many bytes."""
    return RefusedError(
        TOO_LARGE, "too_large", f"the upload has more than the {max_bytes} bytes allowed"
    )


async def _body(request: Request, max_bytes: int, overhead: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes + overhead:
            raise too_large(max_bytes)
    return bytes(body)


async def _form_field(request: Request, body: bytes) -> bytes:
    parser = MultiPartParser(request.headers, _once(body), max_files=8, max_fields=8)
    parser.spool_max_size = len(body) + 1  # files of a form stay in memory, as the body does
    try:
        form = await parser.parse()
    except MultiPartException as error:
        detail = f"the multipart form cannot be read: {error.message}"
        raise RefusedError(400, "bad_form", detail) from error
    fields = form.getlist(FORM_FIELD)
    files = [await each.read() for each in fields if isinstance(each, UploadFile)]
    await form.close()
    if len(files) > 1:
        raise RefusedError(
            400,
            "several_images",
            f"the form has {len(files)} files in the field {FORM_FIELD!r}; send one per request",
        )
    return files[0] if files else b""


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
