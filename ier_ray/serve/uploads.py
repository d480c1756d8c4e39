"""Reading a request's images, within bounds of bytes: raw, in a form, or in KServe's JSON."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Generic

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ier_ray.serve.errors import RefusedError, too_large, too_slow
from ier_ray.serve.instances import InstancesT, decoded, parsed
from ier_ray.serve.schemas import AppArgs

FORM_FIELD = "image"
FORM_OVERHEAD = 64 * 1024
"""Bytes that a multipart body may have besides the images."""
MOST_FILES = 8
"""Files of a form that is to have one image, so that their number can be told."""
MOST_FIELDS = 64
"""Other fields of a form, which are ignored."""
FORM, JSON = "multipart/form-data", "application/json"


@dataclass(frozen=True)
class Images(Generic[InstancesT]):
    """Several images of one request."""

    each: list[bytes | RefusedError]
    """The encoded image, or why there is none."""
    body: InstancesT | None
    """The JSON that they came in, if they did."""


def largest_body(args: AppArgs) -> int:
    """Bytes of the largest body that any route takes."""
    return max(args.max_upload_bytes, args.max_request_bytes) + FORM_OVERHEAD


async def read_upload(request: Request, *, max_bytes: int) -> bytes:
    """The encoded image of a request, raw or in a form.

    Raises:
        RefusedError: with status 413 when too large, 400 when missing, given twice, or in a form
            that cannot be read.
    """
    if media_type_of(request) == FORM:
        files = await _form_files(request, max_bytes, MOST_FILES)
        return _only(files, max_bytes)
    return _only([await _body(request, max_bytes)], max_bytes)


async def read_uploads(
    request: Request,
    form: type[InstancesT],
    args: AppArgs,
    *,
    most_images: int,
    several_files: bool,
) -> bytes | Images[InstancesT]:
    """The encoded image of a request; several if they are in JSON, or files of one form.

    Args:
        form: of a JSON body.
        most_images: in one request.
        several_files: whether a form may have several.

    Raises:
        RefusedError: as :func:`read_upload`, with status 400 or 422 for other JSON, and with 408
            when the body does not arrive in time.
    """
    try:
        async with asyncio.timeout(args.max_transfer_s):
            return await _uploads(request, form, args, most_images, several_files=several_files)
    except TimeoutError as error:
        raise too_slow(args.max_transfer_s) from error


async def _uploads(
    request: Request,
    form: type[InstancesT],
    args: AppArgs,
    most_images: int,
    *,
    several_files: bool,
) -> bytes | Images[InstancesT]:
    media_type, one = media_type_of(request), args.max_upload_bytes
    most = max(one, args.max_request_bytes)
    if media_type == JSON:
        return await asyncio.to_thread(
            _in_json, await _body(request, most), form, args, most_images
        )
    if media_type == FORM and several_files:
        files = await _form_files(request, most, most_images)
        if len(files) > 1:
            return Images([_checked(file, one) for file in files], None)
        return _only(files, one)
    return await read_upload(request, max_bytes=one)


def _in_json(
    body: bytes, form: type[InstancesT], args: AppArgs, most_images: int
) -> Images[InstancesT]:
    found = parsed(body, form, most=most_images)
    each = [decoded(instance, max_bytes=args.max_upload_bytes) for instance in found.instances]
    return Images([_missing() if encoded == b"" else encoded for encoded in each], found)


def media_type_of(request: Request) -> str:
    """Of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _only(files: list[bytes], max_bytes: int) -> bytes:
    if len(files) > 1:
        raise RefusedError(
            400,
            "several_images",
            f"the form has {len(files)} files in the field {FORM_FIELD!r}; send one per request",
        )
    found = _checked(files[0] if files else b"", max_bytes)
    if isinstance(found, RefusedError):
        raise found
    return found


def _checked(encoded: bytes, max_bytes: int) -> bytes | RefusedError:
    if len(encoded) > max_bytes:
        return too_large(max_bytes)
    return encoded or _missing()


def _missing() -> RefusedError:
    return RefusedError(
        400,
        "missing_image",
        f"send the image's bytes as the body, or as the multipart field {FORM_FIELD!r}",
    )


async def _body(request: Request, max_bytes: int, overhead: int = 0) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes + overhead:
            raise too_large(max_bytes)
    return bytes(body)


async def _form_files(request: Request, max_bytes: int, max_files: int) -> list[bytes]:
    """The files of a form's images, of so many bytes in all."""
    body = await _body(request, max_bytes, FORM_OVERHEAD)
    parser = MultiPartParser(
        request.headers, _once(body), max_files=max_files, max_fields=MOST_FIELDS
    )
    parser.spool_max_size = len(body) + 1  # files of a form stay in memory, as the body does
    try:
        form = await parser.parse()
    except MultiPartException as error:
        detail = f"the multipart form cannot be read: {error.message}"
        raise RefusedError(400, "bad_form", detail) from error
    fields = form.getlist(FORM_FIELD)
    files = [await each.read() for each in fields if isinstance(each, UploadFile)]
    await form.close()
    return files


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
