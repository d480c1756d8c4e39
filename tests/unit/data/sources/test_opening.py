"""Which source a folder is opened with, and the error where none fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.datasets import DATASETS, Expected
from support.sources import (
    listing,
    litter,
    paint,
    sample_of,
)

from ier_ray.data.listing import list_samples
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SOURCES, open_source
from ier_ray.data.sources.folders import read_folder
from ier_ray.data.sources.registry import EITHER_DOMAIN
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError, SettingsError, StorageError


def test_a_wrong_folder_names_what_was_looked_for_and_found(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").write_text("")
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(DataError) as raised:
        open_source("auto", str(tmp_path), domain="fer")
    message = str(raised.value)
    for name, source in SOURCES.items():
        assert f"\n  {name}: {source.looked_for}\n" in message
    assert message.endswith("found: a.txt, b.txt, c.txt, d.txt, e.txt and 2 more")
    for name, source in SOURCES.items():
        domain: Domain | None = "fer" if name in EITHER_DOMAIN else None
        if name == "iapsa":
            continue  # its error names the columns that its table needs
        with pytest.raises(DataError, match=r"found: a\.txt") as raised:
            open_source(name, str(tmp_path), domain=domain)
        assert source.looked_for in str(raised.value)
    with pytest.raises(DataError, match="has none among"):
        open_source("iapsa", str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found: no files"):
        open_source("auto", f"{tmp_path}/empty")
    with pytest.raises(StorageError, match="nowhere: cannot be listed"):
        open_source("auto", f"{tmp_path}/nowhere")


def test_names_and_domains_are_checked(tmp_path: Path) -> None:
    paint(tmp_path, "KA.AN1.39.tiff")
    with pytest.raises(SettingsError, match=r"unknown name 'jafe'; use one of \['auto', 'emotic'"):
        open_source("jafe", str(tmp_path))
    with pytest.raises(SettingsError, match=r"domain: 'ier' is not what .*'jaffe'.* \['fer'\]"):
        open_source("auto", str(tmp_path), domain="ier")
    with pytest.raises(SettingsError, match=r"'folder' needs one of \['fer', 'ier'\], got None"):
        open_source("folder", str(tmp_path))
    assert open_source("jaffe", f"{tmp_path}/", domain="fer").domains == ("fer",)


def test_one_request_has_one_repr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path, "set/happy/1.png")
    monkeypatch.chdir(tmp_path)
    relative = open_source("folder", "set/", domain="fer")
    assert repr(relative) == repr(open_source("folder", f"{tmp_path}/set", domain="fer"))
    assert repr(relative) != repr(open_source("folder", "set", domain="ier"))
    monkeypatch.chdir("/")
    assert len(listing(relative)) == 1


def test_a_storage_failure_is_not_a_missing_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path, "KA.AN1.39.tiff")
    source = open_source("jaffe", str(tmp_path))
    sample = sample_of(source, "tiff")

    def refuse(location: str) -> bytes:
        raise StorageError(f"{location}: access denied")

    monkeypatch.setattr("ier_ray.storage.read_bytes", refuse)
    with pytest.raises(StorageError, match="access denied"):
        source.load("fer", sample)


@pytest.mark.parametrize("write", DATASETS, ids=lambda write: write.__name__)
def test_auto_recognizes_each_layout_by_its_files(
    tmp_path: Path, write: Callable[[Path], Expected]
) -> None:
    expected = write(tmp_path)
    folders = {path.parent.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} - {Path()}
    litter(tmp_path, *map(str, folders))
    folder = read_folder(str(tmp_path))
    specific = [other for other in SOURCES if other not in EITHER_DOMAIN]
    assert [name for name in specific if SOURCES[name].recognizes(folder)] == [write.__name__]
    assert open_source("auto", str(tmp_path)).domains == (expected.domain,)


@pytest.mark.parametrize(
    "paths",
    [
        ("awe/1.jpg", "happy/1.jpg"),  # a label that FI does not have
        ("pictures/fear_1.jpg", "pictures/sad_2.jpg"),  # every label is also a facial expression
        ("train/fear/1.jpg", "train/awe/1.jpg", "train/calm/1.jpg"),
    ],
)
def test_what_only_resembles_a_dataset_is_a_folder(tmp_path: Path, paths: tuple[str, ...]) -> None:
    paint(tmp_path, *paths)
    assert open_source("auto", str(tmp_path), domain="fer").name == "folder"
    with pytest.raises(SettingsError, match="source 'folder' needs one of"):
        open_source("auto", str(tmp_path))


def test_what_a_folder_was_taken_for_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    paint(tmp_path, "happy/1.png", "sad/2.png")
    (tmp_path / "notes.csv").write_text("image,comment\n1.png,blurred\n")
    source = open_source("auto", str(tmp_path), domain="fer")
    why = "because notes.csv is the only table in it"
    assert f"{tmp_path}: recognized as source 'table', {why}" in caplog.messages
    taken = (
        rf"taken for source 'table', {why}; if it is another dataset, name it with --source, one"
    )
    with pytest.raises(DataError, match=rf"lacks the columns \['label', 'path'\].*{taken}"):
        list_samples(source, "fer", FOUR)
    with pytest.raises(SettingsError, match=f"'table' needs one of .*{taken}"):
        open_source("auto", str(tmp_path))
    named = open_source("table", str(tmp_path), domain="fer")
    with pytest.raises(DataError, match=r"has \['image', 'comment'\]$"):
        list_samples(named, "fer", FOUR)
    assert named == source
    assert repr(named) == repr(source)  # so that the request is the same


def test_a_folder_whose_labels_have_no_class_says_how_it_was_read(tmp_path: Path) -> None:
    paint(tmp_path, "archive/happy/1.png", "archive/sad/2.png", "top.png")
    source = open_source("auto", str(tmp_path), domain="fer")
    with pytest.raises(DataError) as raised:
        list_samples(source, "fer", FOUR)
    message = str(raised.value)
    assert "labels of the data: 2 archive dropped; skipped files: {'outside_layout': 1}" in message
    assert "is in a folder, whose name 'archive' is taken for its label; if it is" in message
