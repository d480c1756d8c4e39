"""A probe file is read where the same storage is, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ier_ray.errors import StorageError
from ier_ray.probe_files import check_probe, probe_file


def below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_probe_is_there_and_then_gone_with_the_directories_made(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with probe_file(f"{tmp_path}/runs/a/b") as (location, content):
        assert Path(location).parent == tmp_path / "runs/a/b"
        check_probe(location, content)
        assert below(tmp_path) == ["runs", "runs/a", "runs/a/b", f"runs/a/b/{Path(location).name}"]
    assert below(tmp_path) == ["runs"]


def test_a_directory_that_someone_uses_by_now_stays(tmp_path: Path) -> None:
    with probe_file(f"{tmp_path}/a/b"):
        (tmp_path / "a/other").touch()
    assert below(tmp_path) == ["a", "a/other"]


def test_another_directory_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    with probe_file(f"{tmp_path}/here") as (location, content):
        there = Path(location.replace("here", "there"))
        with pytest.raises(StorageError, match="what the driver has written is not there"):
            check_probe(str(there), content)
        there.parent.mkdir()
        there.write_bytes(b"another run's")
        with pytest.raises(StorageError, match="what the driver has written is not there"):
            check_probe(str(there), content)
        there.write_bytes(content)
        check_probe(str(there), content)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"/file/run/\.probe-\w+: cannot be written: .*; give a"),
        probe_file(f"{tmp_path}/file/run"),
    ):
        pass
    assert below(tmp_path) == ["file"]


def test_the_probe_is_deleted_when_the_check_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), probe_file(str(tmp_path)):
        raise KeyError
    assert not below(tmp_path)
