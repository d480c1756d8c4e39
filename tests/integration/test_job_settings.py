"""What each job's command line offers, and what it makes of it; nothing is run."""

from __future__ import annotations

import re
import runpy
import sys
from typing import Any

import pytest
import ray
from support.runs import ROOT

from ier_ray.command_line import from_command_line
from ier_ray.data.listing import LayoutSettings
from ier_ray.errors import SettingsError
from ier_ray.experiments.demo import DemoSettings
from ier_ray.explainer_settings import DEFAULT_PRESET, ExplainerSettings

TRAIN = ["data", "data.augment", "model", "loss", "optimizer", "schedule", "scaling", "tracking"]
SECTIONS = {
    "caption": [],
    "crossvalidate": TRAIN,
    "demo": ["explainer", "sharp"],
    "evaluate": [],
    "experiment": ["data", "scaling"],
    "explain": ["explainer"],
    "layerwise": [],
    "ingest": ["layout"],
    "probe": ["split", "model"],
    "report": [],
    "study_export": ["split"],
    "study_import": [],
    "train": TRAIN,
    "tune": [
        "search",
        "train",
        *(f"train.{section}" for section in TRAIN),
    ],
}


def settings_of(script: str, kind: str, *flags: str) -> Any:
    job = runpy.run_path(str(ROOT / "jobs" / f"{script}.py"))
    return from_command_line(job[kind], flags, program=script, purpose="x")


def test_every_job_is_here() -> None:
    assert {file.stem for file in (ROOT / "jobs").glob("*.py")} == set(SECTIONS)


@pytest.mark.parametrize("script", SECTIONS)
def test_help_has_a_section_for_each_settings_class(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session's cluster stays
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{script}.py"), run_name="__main__")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {script} [--config FILE]")
    assert max(map(len, text.splitlines())) <= 80
    _, *parts = re.split(r"^(\S+):\n", text.split("\n\n", 1)[1], flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(sections) == ["options", "settings", *SECTIONS[script]]
    for title in list(sections)[1:]:
        about, settings = sections[title].strip().split("\n\n", 1)
        assert about.rstrip().endswith(".")
        assert settings.strip().startswith("--")
        described = re.split(r"^  --", settings, flags=re.MULTILINE)
        ends = [entry.rstrip() for entry in described if entry.strip()]
        assert all(re.search(r"\[(default:|required)[^]]*\]+$", end) for end in ends)


def test_ingest_knows_its_layout_by_short_names() -> None:
    flags = ("--source", "synthetic", "--max-bad", "5", "--resize", "256", "--folds", "4")
    settings = settings_of("ingest", "IngestSettings", *flags)
    assert settings.layout == LayoutSettings(max_bad=5, resize=256, folds=4)


def test_explain_knows_its_explainer_by_short_names() -> None:
    flags = ("--images", "a.png", "b.png", "--checkpoint", "c", "--depth", "5")
    more = ("--contexts", "absent", "--baseline", "#ff0000", "--explainer.first-axis", "y")
    settings = settings_of("explain", "ExplainSettings", *flags, *more)
    assert settings.images == ["a.png", "b.png"]
    assert settings.explainer == ExplainerSettings(
        preset=DEFAULT_PRESET, depth=5, contexts="absent", baseline="#ff0000", first_axis="y"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give either checkpoint or pretrained"),
        (["--checkpoint", "c", "--pretrained", "random"], "give either checkpoint or pretrained"),
        (["--checkpoint", "c", "--model.width", "0.5"], "the checkpoint has its own"),
        (["--pretrained", "random", "--network", "fer"], "one of a checkpoint's"),
        (["--checkpoint", "c", "--split.val-fold", "0"], "val_fold and test_fold are both 0"),
    ],
)
def test_a_probe_has_one_network_and_three_parts(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of("probe", "ProbeSettings", "--shards", "s", *flags)


def test_the_demo_keeps_its_baseline_beside_another_setting() -> None:
    settings = from_command_line(
        DemoSettings, ["--explainer.depth", "3"], program="demo", purpose="x"
    )
    assert settings.explainer == ExplainerSettings(depth=3, baseline="mean")
