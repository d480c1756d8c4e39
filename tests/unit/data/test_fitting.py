"""Shard sets that do not fit are refused in one place, whatever job they were given to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.shards import DRAWINGS

from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.emotions import FOUR, POLARITY
from ier_ray.errors import DataError, SettingsError


def test_sets_of_their_domains_and_one_scheme_are_opened(shards: dict[str, str]) -> None:
    given = [Given("data.fer", shards["fer"], "fer"), Given("data.ier", shards["ier"], "ier")]
    opened = open_fitting(given, scheme=FOUR)
    assert [s.location for s in opened] == [shards["fer"], shards["ier"]]
    assert [s.manifest.domain for s in open_fitting(given)] == ["fer", "ier"]
    (any_domain,) = open_fitting([Given("shards", shards["fer"], None)])
    assert any_domain.manifest.domain == "fer"


def test_another_domain_is_named(shards: dict[str, str]) -> None:
    for domain, other in (("fer", "ier"), ("ier", "fer")):
        with pytest.raises(SettingsError) as caught:
            open_fitting([Given("ier", shards[other], domain)])  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"ier is {shards[other]}, a shard set of domain {other!r}; give one of domain "
            f"{domain!r}"
        )


def test_another_scheme_is_named(shards: dict[str, str], tmp_path: Path) -> None:
    layout = LayoutSettings(duplicates="keep")
    other = write_shard_set(DRAWINGS, "ier", f"{tmp_path}/ier", scheme=POLARITY, layout=layout)
    with pytest.raises(DataError, match=f"{other.location}: has label scheme 'polarity'"):
        open_fitting([Given("ier", other.location, "ier")], scheme=FOUR)
    with pytest.raises(DataError, match=f"{other.location}: has label scheme 'polarity'"):
        open_fitting([Given("a", shards["fer"], "fer"), Given("b", other.location, "ier")])


def test_the_same_rows_twice_are_named(shards: dict[str, str], tmp_path: Path) -> None:
    copy = str(shutil.copytree(shards["ier"], tmp_path / "copy"))
    told = f"b is {copy}, which has the same rows as {shards['ier']}"
    with pytest.raises(SettingsError, match=told):
        open_fitting([Given("a", shards["ier"], "ier"), Given("b", copy, "ier")])


def test_a_set_without_rows_or_captions_is_named(shards: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no captions"):
        open_fitting([Given("shards", shards["ier"], None)], captions=True)
    manifest = Path(shutil.copytree(shards["ier"], tmp_path / "empty")) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"rows": 0, "shards": []}))
    with pytest.raises(DataError, match=r"shards is .*/empty, a shard set without rows$"):
        open_fitting([Given("shards", f"{tmp_path}/empty", None)])
