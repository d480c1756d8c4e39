"""What the paths in tables mean: they come from other systems, and from other folders."""

from __future__ import annotations

import posixpath
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ier_ray import storage
from ier_ray.data.sources.base import Loaded
from ier_ray.data.sources.files import load_image
from ier_ray.errors import ImageError


def same_path(path: str) -> str:
    """One form for all spellings of a path: Windows' separators, composed and decomposed marks."""
    return unicodedata.normalize("NFC", path.replace("\\", "/"))


def locations_of(path: str, folder: str) -> list[str]:
    """Where the file that a table names may be, the literal reading first.

    Args:
        path: absolute, relative to the table's folder, ``~/``, with Windows' separators, or a
            ``file:`` URL or other URI.
        folder: location of the table's folder.
    """
    if path.lower().startswith("file:"):
        spelled = [urlsplit(path).path, unquote(urlsplit(path).path)]
    elif "://" in path:
        return [path]
    else:
        spelled = [path, path.replace("\\", "/")]
    composed = [unicodedata.normalize("NFC", name) for name in spelled]
    decomposed = [unicodedata.normalize("NFD", name) for name in spelled]
    names = dict.fromkeys([*spelled, *composed, *decomposed])
    return [_below(folder, name) for name in names if name and "\0" not in name]


def _below(folder: str, path: str) -> str:
    if path.startswith("/"):
        return path
    if path.startswith("~/"):
        return str(Path(path).expanduser())
    scheme, separator, rest = folder.rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(posixpath.join(rest, path))}"


def load_named(path: str, folder: str) -> Loaded:
    """Load the image that a table names.

    Raises:
        ImageError: with reason ``missing`` when there is no such file.
        StorageError: when the storage fails; the image itself may be good.
    """
    for location in locations_of(path, folder):
        try:
            return load_image(location)
        except ImageError:
            continue
    raise ImageError("missing", f"{storage.join(folder, path)}: listed, but there is no such file")
