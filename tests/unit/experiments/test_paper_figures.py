"""The paper's figures as data: values read off the paper, and the notes recomputed from them."""

from __future__ import annotations

import math

import pytest

from ier_ray.errors import DataError
from ier_ray.experiments.paper import PaperTable, paper_table
from ier_ray.experiments.paper.reading import parsed_table


def table(number: int) -> PaperTable:
    found = paper_table(f"table{number}")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("number", "row", "column", "value", "spread"),
    [
        (1, "DnCShap", "Computational complexity", "Low (linear)", None),
        (2, "Proposed", "IAPSa", 61.86, 0.8),
        (2, "Proposed", "EMOTIC", 59.72, 1.2),
        (2, "Baseline#4", "ArtPhoto", 50.42, 1.5),
        (2, "Multi-source DA", "FI", 70.63, None),
        (3, "Adaptation", "FI", 7.2, None),
        (3, "Increase", "EMOTIC", 51.0, None),
        (4, "IAPSa", "Cohen's kappa", 0.79, None),
        (4, "FI", "Model-human agreement", 83.23, None),
        (5, "IAPSa / CK+", "0.8", 51.21, None),
        (5, "EMOTIC / FER13", "1.0", 47.17, None),
        (6, "ArtPhoto / Proposed", "JAFFE", 62.47, None),
        (6, "FI / Baseline#8", "All", 67.12, None),
        (6, "EMOTIC / Baseline#1", "FER13", 40.85, None),
    ],
)
def test_values(
    number: int, row: str, column: str, value: float | str, spread: float | None
) -> None:
    found = table(number).cells[row, column]
    assert (found.value, found.spread) == (value, spread)


def test_sizes() -> None:
    assert [len(table(number).values) for number in range(1, 7)] == [12, 58, 24, 8, 160, 180]
    assert paper_table("ablation") is None


def test_the_note_on_table_2_and_6() -> None:
    six: dict[str, set[float | str]] = {}
    for value in table(6).values:
        six.setdefault(value.row, set()).add(value.value)
    own = [v for v in table(2).values if v.row == "Proposed" or v.row.startswith("Baseline")]
    missing = [v for v in own if v.value not in six[f"{v.column} / {v.row}"]]
    assert (len(own), len(missing)) == (36, 12)
    assert sum(value.column == "ArtPhoto" for value in missing) == 8
    assert any("Twelve of the 36" in note for note in table(2).notes)


def test_the_note_on_fi_s_majority() -> None:
    of_fi = [v for v in table(2).values if v.column == "FI" and v.row.startswith("Baseline")]
    assert sum(float(value.value) < 64 for value in of_fi) == 5
    mixed = [v for v in table(5).values if v.row.startswith("FI / ")]
    assert len(mixed) == 40
    assert all(float(value.value) < 64 for value in mixed)


def test_the_note_on_table_4() -> None:
    shares = [v for v in table(4).values if v.column == "Model-human agreement"]
    for value in shares:
        for count in (50, 100):
            assert f"{value.value:.2f}" not in {f"{100 * k / count:.2f}" for k in range(count + 1)}


def test_the_note_on_iapsa_s_spread() -> None:
    share = 0.6186
    assert 100 * math.sqrt(share * (1 - share) / 79) == pytest.approx(5.5, abs=0.05)


def test_table_3_adds_up() -> None:
    cells = table(3).cells
    parts = (
        "Training",
        "Adaptation",
        "Feature-wise interpretation",
        "Layer-wise interpretation",
    )
    for column in table(3).columns:
        total = sum(float(cells[part, column].value) for part in parts)
        assert total == pytest.approx(float(cells["Total", column].value), abs=0.01)


HEAD = "{table: T, title: t, unit: percent, scheme: four, notes: [], values: [VALUES]}"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("{row: a, column: b, value: 1}, {row: a, column: b, value: 2}", "is given twice"),
        ("{row: a, column: b, value: 101}", "no percentage"),
        ("{row: a, column: b, value: high}", "not in percent"),
        ("{row: a, column: b, value: 1, unit: words}", "not in words"),
        ("{row: a, column: b, value: 1, spread: -1}", "spread"),
        ("{row: a, value: 1}", "column"),
        ("{row: a, column: b, value: 1, note: x}", "note"),
        ("{row: [", "is no table of the paper"),
    ],
)
def test_wrong_tables_are_refused(values: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parsed_table(HEAD.replace("VALUES", values), source="x.yaml")
