"""Walking a folder: each file once, whatever links and names there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ier_ray import storage
from ier_ray.errors import StorageError
from ier_ray.local_files import FoundFile, printable


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def problems(root: Path) -> dict[str, str | None]:
    found = storage.find_files(str(root))
    assert [file.path for file in found] == sorted(file.path for file in found)
    assert [f.path for f in found if f.problem is None] == storage.list_files(str(root))
    assert len({file.path for file in found}) == len(found)
    return {file.path: file.problem for file in found}


def test_loops_and_links_to_parents_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "a/1", "a/b/2")
    write(tmp_path, "beside")
    (root / "a/b/loop").symlink_to(root / "a")
    (root / "a/self").symlink_to(".")
    (root / "up").symlink_to("..")  # of which the root is a part
    (root / "top").symlink_to(root)
    (root / "0").symlink_to("0")
    assert problems(root) == {"0": "broken_link", "a/1": None, "a/b/2": None}
    link = tmp_path / "link"
    link.symlink_to(root)  # the folder itself may be a link
    assert storage.list_files(str(link)) == ["a/1", "a/b/2"]


def test_two_names_of_a_file_are_one_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "b/real", "c/other", "h/hard")
    write(tmp_path, "away/x", "away/y")
    (root / "a").mkdir()
    (root / "a/first").symlink_to("../b/real")  # comes first, but is a link
    (root / "b/second").symlink_to(root / "a/first")
    (root / "z").symlink_to(root / "b")
    (root / "h/harder").hardlink_to(root / "h/hard")
    (root / "gone").symlink_to("nowhere")
    (root / "out").symlink_to(tmp_path / "away")
    (root / "out2").symlink_to(tmp_path / "away/x")
    os.mkfifo(root / "pipe")
    assert problems(root) == {
        "a/first": "link",
        "b/real": None,
        "b/second": "link",
        "c/other": None,
        "gone": "broken_link",
        "h/hard": None,
        "h/harder": "link",
        "out/x": None,
        "out/y": None,
        "out2": "link",
        "pipe": "not_a_file",
    }
    details = {file.path: file.detail for file in storage.find_files(str(root))}
    assert details["a/first"] == "the same file as b/real"
    assert details["h/harder"] == "the same file as h/hard"


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 (bytes)
    for name in (b"/1", b"/\xff.png"):
        Path(os.fsdecode(folder + name)).write_text("")
    write(tmp_path, "good é")
    found = storage.find_files(str(tmp_path))
    assert [(printable(file.path), file.problem) for file in found] == [
        (r"caf\xe9/1", "unreadable_name"),
        (r"caf\xe9/\xff.png", "unreadable_name"),
        ("good é", None),
    ]


def test_what_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "file")
    for name in ("nowhere", "file"):
        with pytest.raises(StorageError, match=f"{name}: cannot be listed"):
            storage.find_files(f"{tmp_path}/{name}")
    assert storage.find_files(f"file://{tmp_path}") == [FoundFile("file")]
