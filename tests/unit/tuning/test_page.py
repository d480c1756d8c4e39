"""The page of a sweep: it shows what the records say, loads nothing and runs no text of a trial."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from ier_ray.training.selection import LABEL_FREE
from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.page import plots, render_page
from ier_ray.tuning.space import Choice, Interval, Point, Space
from ier_ray.tuning.trials import State, TrialRecord, trial_name

BASE = TrainSettings.model_validate({"data": {"fer": "a", "ier": "b"}})
SPACE = Space.of(
    {
        "loss.balance": Interval(low=0, high=2),
        "optimizer.clip_norm": [None, 1.0],
        "loss.discrepancy": ["same_image", "mmd"],
        "optimizer.learning_rate": Interval(low=1e-4, high=1e-4),
    },
    BASE.model_copy(
        update={"optimizer": BASE.optimizer.model_copy(update={"learning_rate": 1e-4})}
    ),
)
ATTACK = "</script><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>"


class Page(HTMLParser):
    """What a page would load, and what it shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["script"]:
            self.text += data


def point(index: int) -> Point:
    return {
        "loss.balance": index / 8,
        "optimizer.clip_norm": [None, 1.0][index % 2],
        "loss.discrepancy": ["same_image", "mmd"][index // 2 % 2],
        "optimizer.learning_rate": 1e-4,
    }


def record(index: int, state: State, *scores: float, **known: Any) -> TrialRecord:
    history = [
        {"epoch": epoch, "score": score, "ier_accuracy": score, "ier_val_loss": 1.0 - score}
        | dict.fromkeys(LABEL_FREE, -score)
        for epoch, score in enumerate(scores, start=1)
    ]
    values = {"name": trial_name(index), "point": point(index), "history": history, "state": state}
    return TrialRecord.model_validate(values | known)


SWEEP = [
    record(0, "finished", 0.25, 0.5),
    record(1, "stopped", 0.125),
    record(2, "failed", 0.75, error=ATTACK),
    record(3, "finished", 0.25, 0.875),
]


def test_the_page_shows_the_sweep_and_loads_nothing() -> None:
    html = render_page(SPACE, SWEEP, name="a <sweep> & its page")
    page = Page(html)
    assert page.loads == []
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert html.count("Plotly.newPlot(") == html.count('"showSendToCloud": false') == 5
    for text in ("a <sweep> & its page", "best score, trial-0003", *SPACE.base_point, *LABEL_FREE):
        assert text in page.text
    names = [trial_name(index) for index in (3, 0, 1, 2)]  # best first, the failed one last
    assert sorted(names, key=page.text.index) == [names[0], *names[1:]]


def test_the_error_of_a_trial_is_shown_and_inert() -> None:
    html = render_page(SPACE, SWEEP, name=ATTACK)
    assert ATTACK not in html
    page = Page(html)
    assert page.text.count(ATTACK) == 3  # the title, the heading and the trial's error
    assert page.tags.count("script") == Page(render_page(SPACE, SWEEP, name="x")).tags.count(
        "script"
    )


def test_a_value_of_a_setting_is_inert_in_plots() -> None:
    space = Space(BASE, (Choice("schedule.pretrained", (None, ATTACK)),))
    records = [
        one.model_copy(update={"point": {"schedule.pretrained": value}})
        for one, value in zip(SWEEP, (None, ATTACK, None, ATTACK), strict=True)
    ]
    assert ATTACK not in render_page(space, records, name="x")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (SWEEP[:1], "it takes 2 trials that ended well, and 1 did"),
        ([SWEEP[2], SWEEP[0], SWEEP[2]], "it takes 2 trials that ended well, and 1 did"),
        ([SWEEP[0], record(1, "finished", 0.5)], "all trials have the same score"),
    ],
)
def test_importance_that_cannot_be_computed_says_why(
    records: list[TrialRecord], reason: str
) -> None:
    importance = next(
        plot for plot in plots(SPACE, records, "x") if plot.title == "Hyperparameter importance"
    )
    assert importance.figure is None
    assert reason in importance.note
    assert reason in render_page(SPACE, records, name="x")


def test_settings_of_one_value_and_lists_can_be_shown() -> None:
    lists = Choice("some.lists", ([0], [0, 1]))
    records = [
        one.model_copy(update={"point": {"some.lists": lists.ends[index % 2]}})
        for index, one in enumerate(SWEEP)
    ]
    assert "[0, 1]" in Page(render_page(Space(BASE, (lists,)), records, name="x")).text


def test_stopped_trials_are_in_the_plots_of_scores() -> None:
    history = next(iter(plots(SPACE, SWEEP, "x"))).figure
    assert history is not None
    assert "0.125" in history


def test_a_sweep_that_reads_no_ier_labels_has_no_oracle() -> None:
    records = [
        one.model_copy(
            update={
                "history": [{k: e[k] for k in ("epoch", "score", "entropy")} for e in one.history]
            }
        )
        for one in SWEEP
    ]
    page = Page(render_page(SPACE, records, name="x"))
    assert "no epoch has an accuracy on IER validation images" in page.text
