"""Results of units on disk, tables made of them, and what tables look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from ier_ray.errors import DataError, IerRayError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.experiments.datasets import Dataset
from ier_ray.experiments.expansion import Cell, expanded
from ier_ray.experiments.grid import Grid
from ier_ray.experiments.grid_files import parsed_grid
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.store import UnitStore
from ier_ray.experiments.studies import study_figure
from ier_ray.experiments.table import Table, tabulated
from ier_ray.experiments.units import Unit, UnitResult
from ier_ray.experiments.writing import shown, write_table

GRID = """
title: a grid
rows:
  - title: Model
    values:
      - {name: Proposed}
      - {name: "Baseline#2", set: {model.architecture: vgg16}}
      - {name: "Baseline#3", set: {model.architecture: resnet}}
      - {name: Seconds, measure: seconds, sum_of: {Proposed: 2, "Baseline#2": -1}, over: Proposed}
      - {name: Left out, skip: {tiny: not at this scale, paper: not at all}}
columns: {title: IER dataset, values: [{name: FI, data: {ier: fi}}]}
data: {fer: all}
reference: Proposed
scales: {tiny: {}, paper: {}}
"""
IMAGES, FOLDS = 40, 5


def dataset(name: str, *names: str) -> Dataset:
    return Dataset(f"/data/{name}", f"hash of {name}", FOLDS, "four", names or (name,))


DATA = {"fi": dataset("fi"), "all": dataset("all", "fer13", "ferg", "jaffe", "ck_plus")}


def predictions(unit: Unit, *, right: int) -> Predictions:
    """The first images of a fold are classified correctly."""
    labels = np.arange(IMAGES) % 4
    given = np.where(np.arange(IMAGES) < right, labels, (labels + 1) % 4)
    ids = np.array([f"{unit.train.data.test_fold}-{number}" for number in range(IMAGES)])
    same = np.full(IMAGES, "x")
    return Predictions(
        sample_ids=ids,
        groups=ids,
        datasets=same,
        domains=np.full(IMAGES, "ier"),
        parts=np.full(IMAGES, "test"),
        folds=np.full(IMAGES, unit.train.data.test_fold, dtype=np.int8),
        labels=labels,
        probabilities=np.eye(4)[given],
        runs=same,
        seeds=np.full(IMAGES, unit.train.seed),
        seen=np.zeros(IMAGES, dtype=bool),
        classes=("happy", "sad", "hate", "anger"),
    )


def right(cell: Cell, fold: int) -> int:
    return {"Proposed": 20, "Baseline#2": 10}[cell.row] + fold


def table(tmp_path: Path, scale: Any = "tiny", data: dict[str, Dataset] = DATA) -> Table:
    grid: Grid = parsed_grid(GRID, source="grid.yaml")
    settings = ExperimentSettings(experiment="table2", storage=str(tmp_path))
    settings = settings.model_copy(update={"scale": scale})
    cells = expanded(grid, settings, data)
    store, results = UnitStore(str(tmp_path / "units")), {}
    for cell in cells:
        for unit in cell.units:
            if cell.row == "Baseline#3":
                result, kept = UnitResult.of(unit, failed="out of paper"), None
            else:
                fold = unit.train.data.test_fold
                kept = predictions(unit, right=right(cell, fold))
                accuracy = right(cell, fold) / IMAGES
                result = UnitResult.of(unit, measures={"accuracy": accuracy}, seconds=1.5)
            store.write(result, kept)
            results[unit.key] = result
            assert store.read(unit.key) == result
            assert store.finished(unit.key) is (kept is not None)
    return tabulated(grid, settings, cells, results, store, data)


def test_cells_show_figures_failures_and_reasons(tmp_path: Path) -> None:
    found = {entry.row: entry for entry in table(tmp_path).entries}
    proposed = found["Proposed"]
    rights = np.array([20, 21, 22, 23, 24]) / IMAGES
    assert proposed.value == pytest.approx(rights.mean())
    assert proposed.std == pytest.approx(rights.std(ddof=1))
    assert proposed.images == 5 * IMAGES
    assert proposed.majority == 0.25
    assert proposed.low is not None
    assert proposed.high is not None
    assert proposed.low < rights.mean() < proposed.high
    assert (found["Baseline#3"].state, found["Baseline#3"].value) == ("failed", None)
    assert found["Baseline#3"].reason == "5 of 5 units: out of paper"
    assert (found["Left out"].state, found["Left out"].reason) == ("skipped", "not at this scale")
    assert found["Seconds"].value == pytest.approx((2 * 0.55 - 0.3) / 0.55)


def test_rows_are_compared_with_the_reference(tmp_path: Path) -> None:
    (one,) = table(tmp_path).comparisons
    assert (one.row, one.reference) == ("Baseline#2", "Proposed")
    assert one.difference == pytest.approx(-0.25)
    assert (one.only_row, one.only_reference) == (0, 50)
    assert one.p_value < 1e-6  # every fold differs by the same
    assert one.equivalence is not None
    assert one.equivalence > 0.99


def test_the_paper_s_figures_stand_beside_ours_only_on_its_data(tmp_path: Path) -> None:
    def beside(scale: str, data: dict[str, Dataset]) -> float | str | None:
        return table(tmp_path, scale, data).entries[0].paper

    assert beside("paper", DATA) == 70.78
    assert beside("tiny", DATA) is None
    assert beside("paper", {**DATA, "fi": dataset("fi", "my_images")}) is None
    seven = Dataset("/data/fi", "hash of fi", FOLDS, "seven", ("fi",))
    assert beside("paper", {**DATA, "fi": seven}) is None
    assert beside("paper", {**DATA, "all": dataset("all", "fer13")}) is None


def test_files_of_a_table(tmp_path: Path) -> None:
    made = table(tmp_path, "tiny")
    write_table(made, str(tmp_path / "out"))
    assert Table.model_validate(json.loads((tmp_path / "out" / "table.json").read_text())) == made
    rows = pq.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert [(row["row"], row["state"]) for row in rows] == [
        (entry.row, entry.state) for entry in made.entries
    ]
    for name in ("table.md", "table.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "scale tiny: synthetic stand-ins" in text.splitlines()[0] + text
        for part in ("55.0 %", "out of paper", "not at this scale", "61.86 ± 0.8 %", "Twelve of"):
            assert part in text, part
    page = (tmp_path / "out" / "table.html").read_text(encoding="utf-8")
    assert "http" not in page


def test_what_a_cell_shows(tmp_path: Path) -> None:
    entry = table(tmp_path, "paper").entries[0]
    assert entry.low is not None
    assert entry.high is not None
    interval = f"[{100 * entry.low:.1f}, {100 * entry.high:.1f}]"
    assert shown(entry) == f"55.0 % {interval} ± 4.0 (paper 70.78 ± 1.1)"


@pytest.mark.parametrize("content", ["{}", "[]", '{"key": "a", "kind": "guess"}', "{"])
def test_a_damaged_result_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "abc.json").write_text(content)
    with pytest.raises(IerRayError, match=r"abc\.json"):
        UnitStore(str(tmp_path)).read("abc")


def test_a_study_s_figures(tmp_path: Path) -> None:
    place = tmp_path / "study.json"
    share = {"count": 41, "of": 50, "percent": 82.0, "low": 69.2, "high": 90.2}
    content = {
        "images": 50,
        "agreement": {"mean_cohen": 0.79, "fleiss": None, "krippendorff": 0.77},
        "model": {"agreement": share},
    }
    place.write_text(json.dumps(content))
    assert study_figure(str(place), "cohen_kappa") == {"value": 0.79, "images": 50}
    assert study_figure(str(place), "model_agreement")["value"] == pytest.approx(0.82)
    assert study_figure(str(place), "fleiss_kappa")["state"] == "skipped"
    place.write_text("[]")
    with pytest.raises(DataError, match="no result of a human study"):
        study_figure(str(place), "images")


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(tmp_path: Path, browser: Browser, width: int) -> None:
    write_table(table(tmp_path, "paper"), str(tmp_path / "out"))
    page = browser.new_page(viewport={"width": width, "height": 800})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "out" / "table.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("table").count() == 3
    assert len(requests) == 1
    cell = page.locator("td.finished").first
    assert "70.78" in cell.inner_text()
    page.close()
