"""What a node answers: here every process is a node that sees everything, or a directory less."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from ier_ray.cluster.reach import Reach
from ier_ray.data.schema import read_shard_manifest

CONTENT = b"from the driver"


@pytest.fixture
def reach(shards: dict[str, str], tmp_path: Path) -> Reach:
    """A run whose files are all below one directory."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/.probe").write_bytes(CONTENT)
    (tmp_path / "weights.pth").touch()
    located = {name: shutil.copytree(shards[name], tmp_path / name) for name in ("fer", "ier")}
    return Reach(
        storage=f"{tmp_path}/runs",
        probe=f"{tmp_path}/runs/.probe",
        content=CONTENT,
        shards=tuple(
            (f"data.{name}", str(path), read_shard_manifest(str(path)).content_hash)
            for name, path in located.items()
        ),
        files=(("schedule.pretrained", f"{tmp_path}/weights.pth"),),
    )


def test_a_node_that_sees_everything_has_no_problem_and_changes_nothing(
    reach: Reach, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = reach.answer()
    assert found.problems == ()
    assert found.temporary == tempfile.gettempdir()
    assert found.free == pytest.approx(shutil.disk_usage(found.temporary).free, rel=0.1)
    assert sorted(tmp_path.rglob("*")) == before


def test_each_thing_that_is_missing_is_named(reach: Reach, tmp_path: Path) -> None:
    for missing in ("runs", "fer", "ier", "weights.pth"):
        (tmp_path / missing).rename(tmp_path / f"{missing}-elsewhere")
    told = (
        f"storage is {tmp_path}/runs, which cannot be used there (what the driver has written ",
        f"data.fer is {tmp_path}/fer, which cannot be read there (",
        f"data.ier is {tmp_path}/ier, which cannot be read there (",
        f"schedule.pretrained is {tmp_path}/weights.pth, which is not there",
    )
    problems = reach.answer().problems
    assert len(problems) == len(told)
    for problem, start in zip(problems, told, strict=True):
        assert problem.startswith(start), problem


def test_another_data_set_under_the_same_path_is_no_match(reach: Reach, tmp_path: Path) -> None:
    manifest = tmp_path / "ier/manifest.json"
    content = json.loads(manifest.read_text()) | {"content_hash": "0" * 64}
    manifest.write_text(json.dumps(content))
    assert reach.answer().problems == (f"data.ier is {tmp_path}/ier, which has other data there",)


def test_shards_that_were_not_all_copied_are_noticed(reach: Reach, tmp_path: Path) -> None:
    *_, last = sorted((tmp_path / "fer/shards").iterdir())
    last.unlink()
    (problem,) = reach.answer().problems
    assert problem.startswith(f"data.fer is {tmp_path}/fer, which cannot be read there ({last}: ")
