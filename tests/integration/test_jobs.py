"""Jobs as users run them: submitted to a cluster, and from a shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from ray.job_submission import JobSubmissionClient
from support.processes import free_port
from support.runs import ROOT

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A head node of its own, as `ray start --head` gives; its dashboard's address."""
    dashboard = free_port()
    temporary = tempfile.mkdtemp(prefix="ier-head-")
    command = [
        str(BIN / "ray"),
        "start",
        "--head",
        "--block",
        "--num-cpus=4",
        "--object-store-memory=300000000",
        "--node-ip-address=127.0.0.1",
        "--dashboard-host=127.0.0.1",
        f"--port={free_port()}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        f"--temp-dir={temporary}",
    ]
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{dashboard}"
    deadline = time.monotonic() + 60
    while True:
        try:
            JobSubmissionClient(address).list_jobs()
            break
        except (ConnectionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    yield address
    started = psutil.Process(process.pid).children(recursive=True)
    for part in [process, *started]:
        part.kill()
    process.wait(30)
    psutil.wait_procs(started, timeout=30)
    shutil.rmtree(temporary, ignore_errors=True)


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


@pytest.mark.parametrize(
    ("script", "arguments", "code", "message"),
    [
        ("train", ["--config=nowhere.yaml"], 2, "nowhere.yaml: no such file"),
        ("train", ["--los.balance=1"], 2, "did you mean --loss.balance?"),
        ("train", ["--data.fer=x"], 2, "data.ier is required"),
        ("explain", ["--checkpoint=x"], 2, "give either images or shards"),
        ("ingest", ["--source=instagram"], 2, "source: must be one of auto, synthetic, emotic"),
        ("ingest", ["--source=fi"], 2, "path is required: the dataset's folder"),
    ],
)
def test_misuse_is_told_before_a_cluster_starts(
    script: str, arguments: list[str], code: int, message: str
) -> None:
    done = subprocess.run(
        [sys.executable, f"jobs/{script}.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_missing_checkpoint_ends_with_one_clear_line(cluster: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "jobs/explain.py",
            f"--checkpoint={tmp_path}/none",
            f"--output={tmp_path}/out",
            "--images=[a.png]",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
    )
    assert done.returncode == 1
    assert "none: no checkpoint here" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
