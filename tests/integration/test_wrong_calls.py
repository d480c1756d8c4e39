"""Calls that must be refused: at once, in one line per problem, and without leaving anything.

Each runs in this process on the session's cluster. A process of its own adds some seconds of
imports and, if only a cluster can tell, of its start: one call of each job is tested so.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from collections import Counter
from itertools import dropwhile
from pathlib import Path

import pytest
import ray
from support.runs import ROOT
from support.wrong_calls import CALLS, WrongCall, write_inputs

SECONDS = 20
JOBS = sorted({call.job for call in CALLS})


@pytest.fixture(scope="module")
def inputs(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_inputs(shards, tmp_path_factory.mktemp("inputs"))


def files(*roots: str | Path) -> dict[str, int]:
    """Everything below directories, and when it was changed."""
    found = (path for root in roots for path in Path(root).rglob("*"))
    return {str(path): path.stat().st_mtime_ns for path in found}


def assert_told(call: WrongCall, inputs: dict[str, str], said: list[str]) -> None:
    """After its settings and what it notices on the way, the job says what is wrong."""
    assert not any("Traceback" in line for line in said)
    wanted = call.lines(inputs)
    lines = list(dropwhile(lambda line: not line.startswith(f"{call.job}: error: "), said))
    assert len(lines) == len(wanted), lines
    for line, alternatives in zip(lines, wanted, strict=True):
        assert any(text in line for text in alternatives), line


def test_every_job_has_twenty() -> None:
    assert sorted(file.stem for file in (ROOT / "jobs").glob("*.py")) == JOBS
    assert min(Counter(call.job for call in CALLS).values()) >= 20


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_wrong_call_is_refused(
    call: WrongCall,
    inputs: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [argument.format_map(inputs) for argument in call.arguments]
    monkeypatch.setattr(sys, "argv", [f"{call.job}.py", *arguments])
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session's cluster stays
    monkeypatch.chdir(tmp_path)
    watched = (tmp_path, inputs["root"], Path(inputs["ier"]).parent)
    before, started = files(*watched), time.monotonic()
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{call.job}.py"), run_name="__main__")
    assert time.monotonic() - started < SECONDS
    assert ended.value.code in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert_told(call, inputs, said.err.splitlines())
    assert files(*watched) == before


@pytest.mark.parametrize("job", JOBS)
def test_a_wrong_call_is_refused_in_a_process_of_its_own(
    job: str, inputs: dict[str, str], tmp_path: Path
) -> None:
    """The slowest kind: one that only a cluster can tell, where the job has any."""
    call = max((call for call in CALLS if call.job == job), key=lambda call: call.joins)
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "jobs" / f"{job}.py"),
            *(argument.format_map(inputs) for argument in call.arguments),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert_told(call, inputs, done.stderr.splitlines()[-len(call.told) :])
    assert not any(tmp_path.iterdir())
