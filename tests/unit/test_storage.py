from __future__ import annotations

import os
import random
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ier_ray import storage
from ier_ray.errors import StorageError


def test_round_trip_and_existence(tmp_path: Path) -> None:
    location = f"{tmp_path}/deep/er/file.json"
    assert not storage.exists(location)
    storage.write_json(location, {"a": [1, 2]})
    assert storage.exists(location)
    assert storage.read_json(location) == {"a": [1, 2]}
    assert storage.read_json(f"file://{location}") == {"a": [1, 2]}
    assert [p.name for p in Path(location).parent.iterdir()] == ["file.json"]  # no partial left


def test_deleting_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    for name in ("a/b/file", "a/other", "c/file"):
        storage.write_bytes(f"{tmp_path}/{name}", b"x")
    assert storage.list_directories(str(tmp_path)) == ["a", "c"]
    assert storage.list_directories(f"{tmp_path}/a") == ["b"]
    assert storage.list_directories(f"{tmp_path}/none") == []
    storage.delete_file(f"{tmp_path}/a/other")
    storage.delete_file(f"{tmp_path}/a/other")
    assert storage.list_files(str(tmp_path)) == ["a/b/file", "c/file"]
    storage.delete_directory(f"{tmp_path}/a")
    storage.delete_directory(f"{tmp_path}/a")
    assert storage.list_files(str(tmp_path)) == ["c/file"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    location = f"{tmp_path}/file.json"
    storage.write_json(location, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(location, float("nan"))
    assert storage.read_json(location) == 1


def test_errors_name_the_location(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing: no such file"):
        storage.read_bytes(f"{tmp_path}/missing")
    with pytest.raises(StorageError, match=r"'ftp://host/x' is no location: give a local path, s3"):
        storage.read_bytes("ftp://host/x")
    (tmp_path / "text").write_text("{")
    with pytest.raises(StorageError, match="is not JSON"):
        storage.read_json(f"{tmp_path}/text")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        storage.write_bytes(f"{tmp_path}/file/below", b"")
    with pytest.raises(StorageError, match="cannot be listed"):
        storage.copy_directory(f"{tmp_path}/nowhere", f"{tmp_path}/target")


def test_copied_directories_are_complete_last(tmp_path: Path) -> None:
    for name in ("a", "manifest.json", "z", "skipped"):
        storage.write_bytes(f"{tmp_path}/from/{name}", name.encode())
    storage.copy_directory(f"{tmp_path}/from", f"{tmp_path}/to", skip=frozenset({"skipped"}))
    copied = sorted((tmp_path / "to").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert {p.name for p in copied} == {"a", "z", "manifest.json"}
    assert copied[-1].name == "manifest.json"


def test_a_block_that_raises_leaves_no_file(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with storage.writing(f"{tmp_path}/file") as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_block_that_raises_at_a_random_byte_leaves_the_earlier_file(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    before = draw.randbytes(50_000)
    storage.write_bytes(f"{tmp_path}/file", before)

    def fail(after: int) -> None:
        with storage.writing(f"{tmp_path}/file") as stream:
            stream.write(draw.randbytes(after))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(draw.randrange(100_000))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_pieces_are_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PIECE_BYTES", 10)
    storage.write_bytes(f"{tmp_path}/file", b"a" * 25)
    assert [len(piece) for piece in storage.read_pieces(f"{tmp_path}/file")] == [10, 10, 5]
    with storage.local_file(f"{tmp_path}/file") as file:
        assert file == tmp_path / "file"
    with pytest.raises(StorageError, match="missing: no such file"):
        list(storage.read_pieces(f"{tmp_path}/missing"))
    with (
        pytest.raises(StorageError, match="missing: no such file"),
        storage.local_file(f"{tmp_path}/missing"),
    ):
        pass


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow beyond it
    try:
        with pytest.raises(StorageError, match=r"file: cannot be written: .*File too large"):
            storage.write_bytes(f"{tmp_path}/file", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_create_a_file_one_wins(tmp_path: Path) -> None:
    location = f"{tmp_path}/deep/claim.json"
    start = threading.Barrier(8)

    def claim(number: int) -> bool:
        start.wait()
        return storage.create_json(location, number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(claim, range(8)))
    assert won.count(True) == 1
    assert storage.read_json(location) == won.index(True)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["claim.json"]


@pytest.mark.parametrize(
    "text",
    ["s3:/b/x", "s3:b", "S3://b", "s3//b", "s3;//b", "s3.//b", "s3 ://b", " s3://b", "s3://",
     "s3:///x", "s3:", "s3:\\\\b", "s3a://b/x", "S3:/b", "gs://b/x", "GCS:/b", "abfss://c@a/x",
     "http://h/x", "HTTPS:/h", "ssh://h", "hdfs:///x", "file:/x", "file:x", "file://host/x",
     "file://", "a://b.jpg", "x+y://z"],
)  # fmt: skip
def test_what_resembles_a_uri_is_no_local_path(text: str) -> None:
    with pytest.raises(StorageError, match=r"is no location: give a local path.*\(\./") as caught:
        storage.parsed(text)
    assert text in str(caught.value)
    with pytest.raises(StorageError, match="is no location"):
        storage.absolute(text)
    with pytest.raises(StorageError, match="is no location"):
        storage.is_remote(text)


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_a_location_has_a_name(text: str) -> None:
    with pytest.raises(StorageError, match=r"is no location: give a local path.*file:///path$"):
        storage.parsed(text)


@pytest.mark.parametrize(
    "text",
    ["a:b.jpg", "C:\\data", "C:/data", "12:30", "s3", "s3/x", "s3-data/x", "./s3:/b", "http.jpg",
     "file.png", "files/http://x", "@x", "*.png", "[a[1].png]", "#ff0000", "out #2", "~nouser9/x",
     "~x.jpg", "name=a//b"],
)  # fmt: skip
def test_other_names_are_local_paths(text: str) -> None:
    assert storage.parsed(text) == ("file", str(Path(text).absolute()))
    assert not storage.is_remote(text)


def test_home_and_urls_are_understood() -> None:
    assert storage.absolute("~/x y") == str(Path.home() / "x y")
    assert storage.absolute("file:///a%20b/%C3%A9#1") == "/a b/é#1"
    assert storage.absolute("file://localhost/x") == "/x"
    assert storage.absolute("s3://bucket/x y/") == "s3://bucket/x y"
    assert storage.absolute("s3://bucket") == "s3://bucket"
    assert storage.filesystem("s3://bucket/x/")[1] == "bucket/x"


def test_what_cannot_be_written_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    for good in ("file", "new", "new/er/file", "directory/new"):
        storage.check_writable(f"{tmp_path}/{good}")
    for good in ("directory", "new", "new/er", "directory/new"):
        storage.check_writable(f"{tmp_path}/{good}", directory=True)
    with pytest.raises(StorageError, match="directory: cannot be written: it is a directory; give"):
        storage.check_writable(f"{tmp_path}/directory")
    for below, directory in (("", True), ("/x", True), ("/x", False), ("/x/y", False)):
        with pytest.raises(StorageError, match=r"cannot be written: .*file is a file, not a direc"):
            storage.check_writable(f"{tmp_path}/file{below}", directory=directory)
    with pytest.raises(StorageError, match="File name too long"):
        storage.check_writable(f"{tmp_path}/{'x' * 300}/y")
    monkeypatch.setattr(os, "access", lambda place, mode: str(place) != str(tmp_path))
    with pytest.raises(StorageError, match=f"no permission to write in {tmp_path}$"):
        storage.check_writable(f"{tmp_path}/new/file")
    storage.check_writable(f"{tmp_path}/directory/file")
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "directory"}
