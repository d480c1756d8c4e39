"""Opening a dataset by its name, or recognizing it by its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.artphoto import ArtPhotoSource
from ier_ray.data.sources.base import Source
from ier_ray.data.sources.ck_plus import CkPlusSource
from ier_ray.data.sources.emotic import EmoticSource
from ier_ray.data.sources.fer13 import Fer13Source
from ier_ray.data.sources.ferg import FergSource
from ier_ray.data.sources.fi import FiSource
from ier_ray.data.sources.files import is_visible
from ier_ray.data.sources.folder import FolderSource
from ier_ray.data.sources.iapsa import IapsaSource
from ier_ray.data.sources.jaffe import JaffeSource
from ier_ray.data.sources.table import SUFFIXES, TableSource, tables_among
from ier_ray.errors import DataError, SettingsError

SOURCES: dict[str, type[Any]] = {
    "emotic": EmoticSource,
    "ck_plus": CkPlusSource,
    "jaffe": JaffeSource,
    "ferg": FergSource,
    "fer13": Fer13Source,
    "fi": FiSource,
    "artphoto": ArtPhotoSource,
    "iapsa": IapsaSource,
    "table": TableSource,
    "folder": FolderSource,
}
"""In the order that ``auto`` tries them: more specific layouts first."""

AUTO = "auto"

_EITHER_DOMAIN = ("table", "folder")
"""Sources of either domain, which the user must name."""


def open_source(name: str, root: str, *, domain: Domain | None = None) -> Source:
    """Open a dataset by its name, or by its files where the name is ``auto``.

    Args:
        name: one of :data:`SOURCES`, or ``auto``.
        root: folder, local or on S3; for ``table`` it may also be the table itself.
        domain: required for ``table`` and ``folder``; other datasets have a fixed one.

    Raises:
        SettingsError: for an unknown name, or a domain that is missing or not the dataset's.
        DataError: when the files do not match, naming what was looked for and what was found.
        StorageError: when the folder is missing.
    """
    if name not in SOURCES and name != AUTO:
        raise SettingsError(f"source: unknown name {name!r}; use one of {[AUTO, *SOURCES]}")
    folder, files = _files_at(storage.absolute(root).rstrip("/"))
    chosen = _recognized(folder, files) if name == AUTO else name
    source = _open(chosen, folder, files, domain)
    if domain not in (None, *source.domains):
        raise SettingsError(
            f"domain: {domain!r} is not what source {chosen!r} has; "
            f"it has {list(source.domains)}. Leave the domain out, or name another source"
        )
    # File names may not be enough (renamed IAPSa pictures): then one listed sample suffices.
    if not SOURCES[chosen].recognizes(files) and not any(source.list(source.domains[0])):
        raise _not_found(folder, files, [chosen])
    return source


def _files_at(root: str) -> tuple[str, list[str]]:
    """The folder and its visible files; if ``root`` is a table, its folder and only the table."""
    if root.lower().endswith(SUFFIXES):
        folder, _, table = root.rpartition("/")
        return folder, [table]
    return root, [path for path in storage.list_files(root) if is_visible(path)]


def _recognized(folder: str, files: Sequence[str]) -> str:
    for name, source in SOURCES.items():
        if source.recognizes(files):
            return name
    raise _not_found(folder, files, list(SOURCES))


def _open(name: str, folder: str, files: Sequence[str], domain: Domain | None) -> Source:
    source: Source
    if name not in _EITHER_DOMAIN:
        source = SOURCES[name](folder)
        return source
    if domain is None or domain not in get_args(Domain):
        raise SettingsError(
            f"domain: source {name!r} needs one of {list(get_args(Domain))}, got {domain!r}"
        )
    if name == "folder":
        return FolderSource(folder, domain)
    tables = tables_among(files)
    if len(tables) != 1:
        raise _not_found(folder, files, [name])
    return TableSource(storage.join(folder, tables[0]), domain)


def _not_found(folder: str, files: Sequence[str], names: Sequence[str]) -> DataError:
    looked_for = "".join(f"\n  {name}: {SOURCES[name].looked_for}" for name in names)
    first = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
    return DataError(f"{folder}: looked for{looked_for}\nfound: {first or 'no files'}")
