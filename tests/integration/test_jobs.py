"""Jobs as users run them: submitted to a cluster, and from a shell."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient
from support.heads import BIN, head_node
from support.runs import ROOT

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a head node's dashboard."""
    with head_node() as found:
        yield found.dashboard


def submit(head: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """What the README says, and the status the cluster records."""
    job = f"job-{time.monotonic_ns()}"
    done = subprocess.run(
        [
            str(BIN / "ray"),
            "job",
            "submit",
            f"--address={head}",
            f"--submission-id={job}",
            "--working-dir=.",
            "--",
            "python",
            "jobs/train.py",
            "--config=configs/demo.yaml",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done, str(JobSubmissionClient(head).get_job_status(job))


@pytest.mark.timeout(400)
def test_a_submitted_training_job_succeeds(
    head: str, shards: dict[str, str], tmp_path: Path
) -> None:
    done, status = submit(
        head,
        f"--storage={tmp_path}",
        f"--data.fer={shards['fer']}",
        f"--data.ier={shards['ier']}",
        "--model.image_size=32",
        "--model.width=0.02",
        "--schedule.epochs=1",
        "--schedule.warmup_epochs=0",
    )
    assert status == "SUCCEEDED", done.stdout[-2000:]
    assert done.returncode == 0
    assert (tmp_path / "train" / "best" / "manifest.json").exists()
    record = next(line for line in done.stdout.splitlines() if line.startswith('{"run"'))
    assert json.loads(record)["checkpoint"] == str(tmp_path / "train" / "best")
    assert done.stdout.index("train settings:") < done.stdout.index("epoch 1/1")


def test_a_submitted_job_with_a_bad_setting_fails_and_names_it(head: str) -> None:
    done, status = submit(head, "--loss.balance=-1")
    assert status == "FAILED"
    assert done.returncode != 0
    assert "loss.balance must be >= 0, got -1" in done.stdout + done.stderr
