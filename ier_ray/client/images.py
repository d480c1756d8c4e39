"""Images as users have them: bytes, a path, or an open file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from ier_ray.errors import StorageError

Image = bytes | str | os.PathLike[str] | BinaryIO
"""The bytes of an image file, the path of one, or one that is open in binary mode."""


def bytes_of(image: Image) -> bytes:
    """The bytes of an image file.

    Raises:
        StorageError: when there is no such file, or it cannot be read.
        TypeError: for a file that is open in text mode.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, os.PathLike)):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise StorageError(f"{os.fspath(image)}: cannot be read: {error.strerror}") from error
    content = image.read()
    if not isinstance(content, bytes):
        raise TypeError("the image is open in text mode: open it with mode 'rb'")
    return content


async def read(image: Image) -> bytes:
    """The same; the event loop goes on meanwhile."""
    return image if isinstance(image, bytes) else await asyncio.to_thread(bytes_of, image)


def several(given: Image | Sequence[Image]) -> Sequence[Image] | None:
    """Images in a list or a tuple; None for a single one."""
    return given if isinstance(given, (list, tuple)) else None


def single(given: Image | Sequence[Image]) -> Image:
    """One image.

    Raises:
        TypeError: for what is none.
    """
    if isinstance(given, (bytes, str, os.PathLike)):
        return given
    if not hasattr(given, "read"):
        raise TypeError(
            f"an image is bytes, a path or an open file, several are a list or a tuple of them; "
            f"got {type(given).__name__}"
        )
    return cast("BinaryIO", given)
