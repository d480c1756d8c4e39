"""Grids: what the package declares, what is refused, and the cells and keys that come of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from support.runs import ROOT
from torchvision.models import get_weight

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.errors import DataError, SettingsError
from ier_ray.experiments.datasets import Dataset
from ier_ray.experiments.expansion import PERMUTED, Cell, expanded
from ier_ray.experiments.grid import Grid
from ier_ray.experiments.grid_files import grid_names, parsed_grid, read_grid
from ier_ray.experiments.settings import ExperimentSettings
from ier_ray.experiments.units import Unit

NAMES = ("fer13", "ferg", "jaffe", "ck_plus", "all", "iapsa", "artphoto", "fi", "emotic")
DATA = {
    f"{name}{end}": Dataset(f"/data/{name}", f"hash of {name}{end}", 5, "four", (name,))
    for name in NAMES
    for end in ("", PERMUTED)
}
SMALL: dict[str, Any] = {
    "title": "a grid",
    "rows": [
        {
            "title": "variant",
            "values": [{"name": "a"}, {"name": "b", "set": {"loss.balance": 0.5}}],
        }
    ],
    "columns": {"title": "data", "values": [{"name": "FI", "data": {"ier": "fi"}}]},
    "data": {"fer": "all"},
    "reference": "a",
    "scales": {"tiny": {"folds": 2}, "paper": {"seeds": [0, 1]}},
}


def grid(**changes: Any) -> Grid:
    return parsed_grid(yaml.safe_dump({**SMALL, **changes}), source="small.yaml")


def settings(experiment: str = "table2", **values: Any) -> ExperimentSettings:
    return ExperimentSettings(experiment=experiment, storage="/runs", scale="tiny", **values)


def cells(name: str, **values: Any) -> list[Cell]:
    return expanded(read_grid(name), settings(name, **values), DATA)


def test_every_table_of_the_paper_has_a_grid() -> None:
    tables = [f"table{number}" for number in range(1, 7)]
    assert grid_names() == ["ablation", *tables]


@pytest.mark.parametrize("scale", ["tiny", "paper"])
@pytest.mark.parametrize("name", grid_names())
def test_every_grid_expands(name: str, scale: Any) -> None:
    asked = settings(name).model_copy(update={"scale": scale})
    found = expanded(read_grid(name), asked, DATA)
    assert all(cell.units or cell.skipped or cell.sums for cell in found)
    places = [(cell.row, cell.column) for cell in found]
    assert len(set(places)) == len(places)


def test_table_6_is_every_source_target_and_model() -> None:
    found = cells("table6")
    assert len(found) == 4 * 9 * 5
    cell = next(c for c in found if c.row == "FI / Proposed" and c.column == "JAFFE")
    (unit,) = cell.units
    assert unit.train.data.fer == "/data/jaffe"
    assert unit.train.data.ier == "/data/fi"
    assert unit.train.model.architecture == "emotion_net"


def test_table_5_trains_the_fer_network_alone_on_a_mix() -> None:
    (unit,) = next(c for c in cells("table5") if c.row == "FI / CK+" and c.column == "0.3").units
    assert unit.tested == "fer"
    assert unit.train.schedule.networks == "fer"
    assert unit.train.data.mix == 0.3
    assert unit.hashes == {"fer": "hash of ck_plus", "ier": "hash of fi"}


def test_tables_share_trainings() -> None:
    by_place = {(cell.row, cell.column): cell for cell in cells("table2")}
    six = {(cell.row, cell.column): cell for cell in cells("table6")}
    three = {(cell.row, cell.column): cell for cell in cells("table3")}
    ablation = {(cell.row, cell.column): cell for cell in cells("ablation")}

    def keys(cell: Cell) -> set[str]:
        return {unit.key for unit in cell.units}

    proposed = keys(by_place["Proposed", "FI"])
    assert keys(six["FI / Proposed", "All"]) <= proposed
    assert keys(three["Two networks / Training and adaptation", "FI"]) == proposed
    assert keys(three["Two networks / Training", "FI"]) == keys(by_place["β = 0", "FI"])
    assert keys(three["One network / Training", "FI"]) == keys(by_place["Target only", "FI"])
    assert keys(ablation["Proposed", "FI"]) == proposed
    assert keys(ablation["β = 0", "FI"]) == keys(by_place["β = 0", "FI"])
    baseline = keys(by_place["Baseline#3", "IAPSa"])
    assert keys(six["IAPSa / Baseline#3", "All"]) <= baseline


def test_folds_and_seeds_repeat_a_unit() -> None:
    asked = settings().model_copy(update={"scale": "paper"})
    (first, _) = expanded(grid(), asked, DATA)
    repeats = [(unit.train.seed, unit.train.data.test_fold) for unit in first.units]
    assert repeats == [(seed, fold) for seed in (0, 1) for fold in range(5)]
    (first, _) = expanded(grid(), settings(folds=3, seeds=1), DATA)
    assert len(first.units) == 3


def unit_of(**changes: Any) -> Unit:
    (cell, _) = expanded(grid(), settings(**changes), DATA)
    return cell.units[0]


def test_the_key_is_of_all_that_the_result_depends_on() -> None:
    unit = unit_of()
    moved = unit.train.model_copy(
        update={
            "name": "other",
            "storage": "/elsewhere",
            "data": unit.train.data.model_copy(update={"fer": "/moved", "ier": "/away"}),
            "scaling": unit.train.scaling.model_copy(update={"max_failures": 9}),
        }
    )
    assert replace(unit, train=moved).key == unit.key
    others = {
        unit_of(train={"optimizer.learning_rate": 0.5}).key,
        replace(unit, hashes={**unit.hashes, "ier": "other images"}).key,
        replace(unit, tested="fer").key,
        replace(unit, kind="control", method="majority").key,
        replace(unit, kind="control", method="pixels").key,
        replace(unit, options={"images": 3}).key,
        replace(unit, train=unit.train.model_copy(update={"seed": 7})).key,
        unit.key,
    }
    assert len(others) == 8


def test_settings_of_rows_are_above_the_user_s_and_these_above_the_scale_s() -> None:
    both = grid(scales={"tiny": {"set": {"loss.balance": 3.0}}, "paper": {}})
    first, second = expanded(both, settings(), DATA)
    assert [cell.units[0].train.loss.balance for cell in (first, second)] == [3.0, 0.5]
    first, second = expanded(both, settings(train={"loss.balance": 4.0}), DATA)
    assert [cell.units[0].train.loss.balance for cell in (first, second)] == [4.0, 0.5]


def test_a_dataset_that_is_not_given_leaves_its_cells_out() -> None:
    few = {name: dataset for name, dataset in DATA.items() if name != "fi"}
    (cell, _) = expanded(grid(), settings(), few)
    assert cell.skipped == "data.fi is not given"


def test_rows_and_columns_can_be_chosen() -> None:
    found = cells("table6", rows=["Proposed"], columns=["All"])
    assert [cell.row for cell in found] == [
        f"{name} / Proposed" for name in ("IAPSa", "ArtPhoto", "FI", "EMOTIC")
    ]
    found = cells("table6", rows=["Proposed", "FI"], columns=["All"])
    assert [cell.row for cell in found] == ["FI / Proposed"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rows": ["Propsed"]}, "rows: 'Propsed' is not in this experiment"),
        ({"columns": ["LFW"]}, "columns: 'LFW' is not in this experiment"),
        ({"folds": 9}, "folds is 9, but the data have 5"),
        ({"train": {"loss.beta": 1}}, "loss.beta is not a setting"),
        ({"train": {"loss.balance": -1}}, "loss.balance must be >= 0"),
        ({"train": {"data.test_fold": 1}}, "data.test_fold is set by the experiment"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        expanded(grid() if "train" in values else read_grid("table2"), settings(**values), DATA)


def test_domains_with_different_folds_are_refused() -> None:
    uneven = {**DATA, "fi": replace(DATA["fi"], folds=3)}
    with pytest.raises(SettingsError, match="has 5 folds, /data/fi has 3"):
        expanded(grid(), settings(), uneven)


def axis(*values: dict[str, Any], title: str = "variant") -> dict[str, Any]:
    return {"title": title, "values": list(values)}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": []}, "rows"),
        ({"rows": [axis()]}, "at least 1 item"),
        ({"rows": [axis({"name": "a"}, {"name": "a"})]}, "'a' is given twice"),
        ({"rows": [axis({"name": "a", "sets": {}})]}, "sets"),
        ({"rows": [axis({"name": "a", "data": {"ier": "lfw"}})]}, "no dataset 'lfw'"),
        ({"rows": [axis({"name": "a", "data": {"fer": "fi"}})]}, "fi is no dataset of domain"),
        ({"rows": [axis({"name": "a", "data": {"ier": "iapsa"}})]}, "both set ier"),
        (
            {
                "rows": [
                    axis({"name": "a", "set": {"seed": 1}}),
                    axis({"name": "b", "set": {"seed": 2}}, title="other"),
                ],
                "reference": None,
            },
            "variant and other both set seed",
        ),
        ({"reference": "c"}, "'c' is no row"),
        ({"scales": {"tiny": {}}}, "scales: paper is missing"),
        ({"scales": {"tiny": {"folds": 0}, "paper": {}}}, "folds"),
        ({"scales": {"tiny": {}, "paper": {"seeds": []}}}, "seeds"),
        ({"rows": [axis({"name": "a", "sum_of": {"b": 1}}, {"name": "b"})]}, "no row before it"),
        ({"kind": "guess"}, "kind"),
        ({"columns": {"like": "nothing"}}, "nothing.yaml"),
    ],
)
def test_wrong_grids_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        grid(**changes)


def test_what_is_like_a_shared_file_is_filled_in() -> None:
    found = grid(columns={"title": "data", "values": [{"like": "ier_datasets"}]})
    assert [choice.name for choice in found.columns.values] == ["IAPSa", "ArtPhoto", "FI", "EMOTIC"]
    found = grid(scales={"like": "trainings", "tiny": {"folds": 1}})
    assert found.scales["tiny"].folds == 1
    assert found.scales["tiny"].set["model.image_size"] == 32


def test_the_example_s_settings_are_possible() -> None:
    source = str(ROOT / "configs" / "paper_tables.yaml")
    values = read_settings_file(source)
    for name in grid_names():
        asked = parse_settings(ExperimentSettings, {**values, "experiment": name}, source=source)
        found = expanded(read_grid(name), asked, DATA)
        trained = [unit.train for cell in found for unit in cell.units]
        assert all(train.data.normalization == "imagenet" for train in trained)
        assert all(train.scaling.num_workers == 4 for train in trained)
        assert all(train.schedule.patience == 10 for train in trained)


def test_pretrained_weights_are_of_each_network() -> None:
    asked = settings().model_copy(update={"scale": "paper"})
    starts = {
        cell.row: cell.units[0].train.schedule.pretrained
        for cell in expanded(read_grid("table2"), asked, DATA)
    }
    assert starts["Proposed"] == starts["Baseline#2"] == "VGG16_Weights.IMAGENET1K_V1"
    for row in ("Random initialization", "Baseline#4", "Baseline#5"):
        assert starts[row] is None
    of_torchvision = {row: name for row, name in starts.items() if name is not None}
    assert len(set(of_torchvision.values())) == 6
    for name in of_torchvision.values():
        assert get_weight(name).url.startswith("https://download.pytorch.org")
