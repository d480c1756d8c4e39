"""Opening a dataset by its name, or recognizing it by its files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, get_args

from ier_ray import storage
from ier_ray.data.schema import Domain
from ier_ray.data.sources.artphoto import ArtPhotoSource
from ier_ray.data.sources.base import Listed, Source
from ier_ray.data.sources.ck_plus import CkPlusSource
from ier_ray.data.sources.coded import AffectNetSource, RafDbSource, numbers_of
from ier_ray.data.sources.emotic import EmoticSource
from ier_ray.data.sources.fer13 import Fer13Source
from ier_ray.data.sources.ferg import FergSource
from ier_ray.data.sources.fi import FiSource
from ier_ray.data.sources.folder import FolderSource
from ier_ray.data.sources.folders import DatasetFolder, read_folder
from ier_ray.data.sources.hugging_face import HuggingFaceSource
from ier_ray.data.sources.iapsa import IapsaSource
from ier_ray.data.sources.jaffe import JaffeSource
from ier_ray.data.sources.table import TableSource, tables_among
from ier_ray.errors import DataError, SettingsError

logger = logging.getLogger(__name__)

SOURCES: dict[str, type[Any]] = {
    "emotic": EmoticSource,
    "ck_plus": CkPlusSource,
    "jaffe": JaffeSource,
    "ferg": FergSource,
    "raf_db": RafDbSource,
    "affectnet": AffectNetSource,
    "fer13": Fer13Source,
    "fi": FiSource,
    "artphoto": ArtPhotoSource,
    "iapsa": IapsaSource,
    "hugging_face": HuggingFaceSource,
    "table": TableSource,
    "folder": FolderSource,
}
"""In the order that ``auto`` tries them: more specific layouts first."""

AUTO = "auto"

EITHER_DOMAIN = ("table", "hugging_face", "folder")
"""Sources of either domain, which the user must name."""

_AMBIGUOUS = frozenset(range(7))
"""Numbers of label folders that FER2013 and AffectNet both have, for different emotions."""


def open_source(name: str, root: str, *, domain: Domain | None = None) -> Source:
    """Open a dataset by its name, or by its files where the name is ``auto``.

    Args:
        name: one of :data:`SOURCES`, or ``auto``.
        root: folder, local or on S3; or the table itself, of datasets that are one.
        domain: required for :data:`EITHER_DOMAIN`; other datasets have a fixed one.

    Raises:
        SettingsError: for an unknown name, or a domain that is missing or not the dataset's.
        DataError: when the files do not match, naming what was looked for and what was found.
        StorageError: when the folder is missing.
    """
    if name not in SOURCES and name != AUTO:
        raise SettingsError(f"source: unknown name {name!r}; use one of {[AUTO, *SOURCES]}")
    root = storage.absolute(root).rstrip("/")
    folder = read_folder(root)
    chosen, why = _recognized(folder) if name == AUTO else (name, "")
    if why:
        logger.info("%s: recognized as source %r, because %s", root, chosen, why)
        why = (
            f" ({root} was taken for source {chosen!r}, because {why}; if it is another dataset, "
            f"name it with --source, one of {', '.join(SOURCES)})"
        )
    source = _open(chosen, root, folder, domain, why)
    if domain not in (None, *source.domains):
        raise SettingsError(
            f"domain: {domain!r} is not what source {chosen!r} has; it has "
            f"{list(source.domains)}. Leave the domain out, or name another source{why}"
        )
    # File names may not be enough (renamed IAPSa pictures): then one listed sample suffices.
    if not SOURCES[chosen].recognizes(folder) and not _lists_a_sample(source):
        raise _not_found(folder, [chosen])
    return source


def _lists_a_sample(source: Source) -> bool:
    return any(isinstance(entry, Listed) for entry in source.list(source.domains[0]))


def _recognized(folder: DatasetFolder) -> tuple[str, str]:
    """The first source that recognizes the folder, and why."""
    for name, source in SOURCES.items():
        if why := source.recognizes(folder):
            _check_unambiguous(name, folder)
            return name, why
    raise _not_found(folder, list(SOURCES))


def _check_unambiguous(name: str, folder: DatasetFolder) -> None:
    numbers, _ = numbers_of(folder)
    if name == "folder" and 0 in numbers and numbers <= _AMBIGUOUS:
        raise DataError(
            f"{folder.root}: its label folders are the numbers {sorted(numbers)}, which mean other "
            f"emotions in FER2013 (0 angry, 1 disgust, ...) than in AffectNet (0 neutral, 1 happy, "
            f"...): name it with --source fer13 or --source affectnet, or take the numbers as "
            f"labels with --source folder"
        )


def _open(name: str, root: str, folder: DatasetFolder, domain: Domain | None, why: str) -> Source:
    source: Source
    if name not in EITHER_DOMAIN:
        source = SOURCES[name](root, recognized=why)
        return source
    if domain is None or domain not in get_args(Domain):
        raise SettingsError(
            f"domain: source {name!r} needs one of {list(get_args(Domain))}, got {domain!r}{why}"
        )
    if name == "table":
        tables = tables_among(folder.others)
        if len(tables) != 1:
            raise _not_found(folder, [name])
        root = storage.join(folder.root, tables[0])
    source = SOURCES[name](root, domain=domain, recognized=why)
    return source


def _not_found(folder: DatasetFolder, names: Sequence[str]) -> DataError:
    looked_for = "".join(f"\n  {name}: {SOURCES[name].looked_for}" for name in names)
    files = folder.files
    first = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
    return DataError(f"{folder.root}: looked for{looked_for}\nfound: {first or 'no files'}")
