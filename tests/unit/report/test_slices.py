"""Figures by dataset and pooled, plots of unusual runs, and layers of credit."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.finished_runs import layerwise_record
from support.predictions import random_predictions

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import calibration_error
from ier_ray.report.curves import learning_curves
from ier_ray.report.heat import LEAST_OPACITY, colored, layer
from ier_ray.report.layers import layer_plots
from ier_ray.report.run import FinishedRun, read_run
from ier_ray.report.slices import Slice, compare_runs, figures_of, slices_of


def of_two_datasets(run: FinishedRun) -> FinishedRun:
    kept = run.predictions
    names = np.where(np.arange(len(kept)) % 3 == 0, "artphoto", "emotion6")
    return replace(run, predictions=replace(kept, datasets=names))


def test_several_datasets_are_shown_together_and_each(finished: Path) -> None:
    slices = slices_of(of_two_datasets(read_run(str(finished))))
    assert [one.title for one in slices] == [
        f"{network} network, {data}"
        for network in ("IER", "FER")
        for data in ("all datasets", "artphoto", "emotion6")
    ]
    pooled, *each = slices[:3]
    assert pooled.evaluation.samples == sum(one.evaluation.samples for one in each)
    for one in each:
        assert set(one.predictions.datasets.tolist()) == {one.dataset}
        assert set(one.predictions.parts.tolist()) == {"test"}
        right = one.predictions.probabilities.argmax(1) == one.predictions.labels
        assert one.evaluation.accuracy == pytest.approx(right.mean())


def test_runs_are_compared_on_each_dataset(finished: Path, second: Path) -> None:
    runs = {name: of_two_datasets(read_run(str(run)))
            for name, run in {"one": finished, "two": second}.items()}  # fmt: skip
    found = list(compare_runs({name: slices_of(run) for name, run in runs.items()}))
    assert len(found) == 6
    for one in found:
        (pair,) = one.pairs
        first, other = one.evaluations.values()
        assert pair.accuracy.estimate == pytest.approx(first.accuracy - other.accuracy)
        assert pair.images == first.samples
        assert one.untested is None


def test_a_domain_without_test_predictions_is_refused(finished: Path) -> None:
    run = read_run(str(finished))
    kept = run.predictions
    without = kept.select((kept.domains != "ier") | (kept.parts != "test"))
    with pytest.raises(DataError, match="no test prediction of domain 'ier' was kept"):
        slices_of(replace(run, predictions=without))


def test_calibration_is_shown_from_three_hundred_images() -> None:
    predictions = random_predictions(400, seed=1)
    shown = figures_of(Slice.of("ier", None, predictions)).calibration
    assert shown is not None
    error = calibration_error(predictions.probabilities, predictions.labels)
    assert f"Expected calibration error {error:.3f}" in shown.note
    few = predictions.select(np.arange(299))
    assert figures_of(Slice.of("ier", None, few)).calibration is None


def test_one_group_has_figures_without_intervals() -> None:
    alone = random_predictions(50, groups=np.full(50, "one"))
    found = figures_of(Slice.of("ier", None, alone))
    assert found.slice.evaluation.accuracy_interval is None
    assert "Confusion matrix" in found.confusion.svg


def test_names_are_escaped_in_plots() -> None:
    attack = "<script>alert(1)</script>"
    predictions = replace(random_predictions(40), classes=(attack, "sad", "hate", "anger"))
    found = figures_of(Slice.of("ier", attack, predictions))
    for plot in (found.confusion, found.risk):
        assert "<script" not in plot.svg


@pytest.mark.parametrize("folds", [1, 3])
def test_curves_show_what_the_history_has(folds: int) -> None:
    history: list[dict[str, Any]] = [
        {"epoch": epoch, "fer": 1 / epoch, "discrepancy": 0.0} for epoch in (1, 2, 3)
    ]
    plots = list(learning_curves([history] * folds, warmup_epochs=1, best_epochs=[3] * folds))
    assert len(plots) == 1  # no accuracy was measured
    assert "cross-entropy FER" in plots[0].svg
    assert "cross-entropy IER" not in plots[0].svg
    assert plots[0].svg.count("cross-entropy FER") == 1  # one entry of the legend


def test_layers_without_a_probe_are_left_out_of_the_line() -> None:
    record = layerwise_record()
    record["networks"]["/runs/a/best"][0]["probe"] = None
    record["networks"]["/runs/a/best"][1]["intersection"] = None
    plots = list(layer_plots(record))
    assert len(plots) == 3
    assert all("features.4" in plot.svg for plot in plots)
    assert "runs/a/best" not in plots[0].svg
    assert "a/best" in plots[0].svg


def test_colors_follow_the_sign_and_opacity_the_amount_of_credit() -> None:
    against, none, for_it = colored(np.array([-1.0, 0.0, 1.0])).astype(int)
    assert for_it[0] > for_it[2]  # red
    assert against[2] > against[0]  # blue
    assert (against[3], for_it[3]) == (255, 255)
    assert none[3] == round(255 * LEAST_OPACITY)


def test_a_layer_keeps_the_places_of_credit_and_says_its_scale() -> None:
    credit = np.zeros((8, 8))
    credit[:4, 4:] = 0.5
    found = layer(credit, 4)
    assert (found.regions, found.limit) == (4, "0.5")
    content = base64.b64decode(found.uri.partition(",")[2])
    opacity = np.asarray(Image.open(io.BytesIO(content)))[..., 3]
    assert ((opacity == 255) == (credit > 0)).all()
    assert layer(np.zeros((4, 4)), 1).limit == "0"
