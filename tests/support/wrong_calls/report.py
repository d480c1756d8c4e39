"""What users get wrong with pages about runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.finished_runs import write_finished_run
from support.wrong_calls.calls import WrongCall, calls, common


def write_runs(shards: dict[str, str], checkpoint: Path, root: Path) -> dict[str, str]:
    """A finished run, and such that are not: by the names that the calls below have for them."""
    run = write_finished_run(shards, checkpoint, root / "reported" / "whole")
    found = {"whole": str(run)}

    def copied(name: str) -> Path:
        found[name] = str(root / "reported" / name)
        return Path(shutil.copytree(run, found[name]))

    (copied("unfinished") / "predictions.parquet").unlink()
    (copied("no_history") / "history.json").unlink()
    (copied("no_best") / "best" / "manifest.json").unlink()
    (copied("torn_history") / "history.json").write_text("[1")
    (copied("odd_history") / "history.json").write_text("[1]")
    (copied("odd_predictions") / "predictions.parquet").write_bytes(b"PAR1")
    (copied("odd_settings") / "settings.json").write_text('{"name": 3}')
    (copied("sweep") / "settings.json").write_text(json.dumps({"search": {}, "train": {}}))
    old = copied("old_checkpoint") / "best" / "manifest.json"
    old.write_text(json.dumps(json.loads(old.read_text()) | {"format_version": 1}))
    (copied("odd_layers") / "layerwise").mkdir()
    (root / "reported" / "odd_layers" / "layerwise" / "layerwise.json").write_text("{}")
    (copied("half_a_fold") / "fold-0").mkdir()
    (root / "reported" / "no_arrays").mkdir()
    (root / "reported" / "no_arrays" / "1.json").write_text("{}")
    found["no_arrays"] = str(root / "reported" / "no_arrays")
    (root / "reported" / "odd_arrays").mkdir()
    (root / "reported" / "odd_arrays" / "1.json").write_text('{"name": "x"}')
    (root / "reported" / "odd_arrays" / "1.npz").write_bytes(b"PK")
    found["odd_arrays"] = str(root / "reported" / "odd_arrays")
    return found


TABLE = {
    "no runs": ("", "runs is required"),
    "run missing": ("--runs {none}", "none: no run here (settings.json is missing)"),
    "one of several missing": ("--runs {whole} {none}", "none: no run here"),
    "run twice": ("--runs {whole} {whole}", "runs: {whole} is given twice"),
    "run elsewhere": ("--runs http://host/run", "'http://host/run' is no location"),
    "run a file": ("--runs {file}", "file is a file, not a directory"),
    "a checkpoint": ("--runs {checkpoint}", "is a checkpoint or a shard set, not a run"),
    "a shard set": ("--runs {ier}", "is a checkpoint or a shard set, not a run"),
    "a sweep": ("--runs {sweep}", "is a sweep, which has a page of its own"),
    "not finished": ("--runs {unfinished}", "not finished (predictions.parquet missing)"),
    "no history": ("--runs {no_history}", "not finished (history.json missing)"),
    "no checkpoint": ("--runs {no_best}", "not finished (best/manifest.json missing)"),
    "fold not finished": (
        "--runs {half_a_fold}",
        "the cross-validation is not finished (fold-0/best/manifest.json, fold-0/history.json",
    ),
    "history torn": ("--runs {torn_history}", "history.json: is not JSON"),
    "history of something else": ("--runs {odd_history}", "history.json: not a list of epochs"),
    "predictions damaged": ("--runs {odd_predictions}", "predictions.parquet: cannot be read as"),
    "settings of something else": ("--runs {odd_settings}", "not the settings of a run"),
    "checkpoint of format 1": ("--runs {old_checkpoint}", "format version 1"),
    "layers of another version": ("--runs {odd_layers}", "no record of layers of this version"),
    "explanations missing": ("--runs {whole} --explanations {none}", "explanations {none}: "),
    "explanations empty": (
        "--runs {whole} --explanations {folder}",
        "explanations {folder}: no explanations here",
    ),
    "explanations without arrays": ("--runs {whole} --explanations {no_arrays}", "1.npz missing"),
    "explanations damaged": (
        "--runs {whole} --explanations {odd_arrays}",
        "1.json: not an explanation of this version",
    ),
    "output a directory": ("--runs {whole} --output {folder}", "it is a directory; give a file"),
    "title too long": (f"--runs {{whole}} --title {'x' * 201}", "title"),
}

REPORT: list[WrongCall] = [*common("report", "--runs {whole}"), *calls("report", "", TABLE)]
