"""What users see when something fails inside Ray: one line that names it, and where the rest is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import GetTimeoutError
from ray.train import ControllerError, WorkerGroupError
from support.damage import with_damaged_images, with_damaged_pages
from support.runs import ROOT

from ier_ray.cluster.connection import connect
from ier_ray.cluster.failures import for_the_user, lasting, training_error
from ier_ray.cluster.trainer import TrainResult
from ier_ray.errors import (
    ClusterError,
    DataError,
    IerRayError,
    LostWorkersError,
    SettingsError,
    StorageError,
)

DAMAGED = DataError("image 'a' is unreadable")


def raises(*_: Any) -> None:
    raise DAMAGED from OSError("truncated")


def asks_a_task_that_raises() -> None:
    ray.get(ray.remote(raises).remote())


def leaves() -> None:
    os._exit(1)


class Refuses:
    def __init__(self) -> None:
        raises()

    def ready(self) -> None:
        pass

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch


class Works:
    def fail(self) -> None:
        raises()

    def leave(self) -> None:
        os._exit(1)


def rows() -> ray.data.Dataset:
    return ray.data.range(4)


ONE = ray.data.ActorPoolStrategy(size=1)
CARRIERS: dict[str, Callable[[], Any]] = {
    "driver": raises,
    "task": lambda: ray.get(ray.remote(raises).remote()),
    "task in a task": lambda: ray.get(ray.remote(asks_a_task_that_raises).remote()),
    "actor": lambda: ray.get(ray.remote(Works).remote().fail.remote()),
    "constructor": lambda: ray.get(ray.remote(Refuses).remote().ready.remote()),
    "Ray Data": lambda: rows().map_batches(raises).materialize(),
    "Ray Data's constructor": lambda: rows().map_batches(Refuses, compute=ONE).materialize(),
}


def caught(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as found:  # noqa: PT011 (of any class)
        call()
    return found.value


@pytest.mark.parametrize("place", CARRIERS)
def test_an_error_of_ours_comes_out_of_ray_as_it_was(cluster: None, place: str) -> None:
    connect()
    found = for_the_user(caught(CARRIERS[place]))
    assert isinstance(found, IerRayError)
    assert str(found) == str(DAMAGED)


def test_what_the_cluster_lost_is_named(cluster: None) -> None:
    task, actor = ray.remote(max_retries=0)(leaves), ray.remote(Works).remote()
    for name, call in {"WorkerCrashedError": task, "ActorDiedError": actor.leave}.items():
        found = for_the_user(caught(partial(ray.get, call.remote())))
        assert isinstance(found, ClusterError)
        assert re.fullmatch(rf"the cluster failed: {name}: The .*", str(found))
    found = for_the_user(GetTimeoutError("no answer\nin 5 s"))
    assert str(found) == "the cluster failed: GetTimeoutError: no answer"


def test_other_errors_are_unexpected(cluster: None) -> None:
    assert for_the_user(ValueError("x")) is None
    assert for_the_user(caught(lambda: ray.get(ray.remote(lambda: int("x")).remote()))) is None


def test_trainings_wrappers_are_opened() -> None:
    group = WorkerGroupError("long", {0: RuntimeError("closed by peer"), 1: DAMAGED})
    assert for_the_user(group) is DAMAGED
    error = DataError("image 'b' is unreadable")
    error.__cause__ = ControllerError(error)
    assert for_the_user(error.__cause__) is error
    assert for_the_user(error) is error


def test_a_restart_cures_storage_and_lost_processes_only() -> None:
    passing = {0: StorageError("s3"), 1: GetTimeoutError("x"), 2: RuntimeError("y")}
    assert lasting(passing) is None
    assert lasting({**passing, 3: DAMAGED}) is DAMAGED
    assert type(training_error(passing)) is LostWorkersError
    assert "worker 0: StorageError: s3; worker 1: ClusterError: " in str(training_error(passing))
    assert lasting({0: SettingsError("z")}) is not None


def job(name: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """A job on the session's cluster."""
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{name}.py"), *flags],
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def assert_told(done: subprocess.CompletedProcess[str], *names: str) -> None:
    """One line that has one of the names and the log; the traceback is there only."""
    assert done.returncode == 1
    # On a busy machine the cluster warns that many workers are starting.
    assert [line for line in done.stdout.splitlines() if "(raylet)" not in line] == []
    last = done.stderr.splitlines()[-1]
    assert any(name in last for name in names), last
    for advice in ("Traceback", "UDF", "DataContext", 'File "'):
        assert advice not in done.stderr
    others = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    assert len(others) <= 10, done.stderr
    found = re.search(r" \(log: (\S+\.log)\)$", last)
    assert found is not None, last
    log = Path(found[1])
    content = log.read_text()
    log.unlink()
    assert "Traceback (most recent call last)" in content
    assert any(name in content for name in names)


@pytest.mark.timeout(300)
def test_training_on_a_damaged_image(shards: dict[str, str], tmp_path: Path) -> None:
    ids = with_damaged_images(shards["ier"], tmp_path / "ier")
    done = job(
        "train",
        f"--storage={tmp_path}",
        f"--data.fer={shards['fer']}",
        f"--data.ier={tmp_path}/ier",
        "--model.image-size=32",
        "--model.width=0.02",
        "--schedule.epochs=1",
        "--schedule.warmup-epochs=0",
        "--scaling.num-workers=2",
    )
    assert_told(done, *ids)


@pytest.mark.timeout(300)
def test_predicting_damaged_images_and_files(
    shards: dict[str, str], trained: TrainResult, tmp_path: Path
) -> None:
    ids = with_damaged_images(shards["ier"], tmp_path / "images")
    files = with_damaged_pages(shards["ier"], tmp_path / "pages")
    for directory, names in (("images", ids), ("pages", files)):
        done = job(
            "evaluate", f"--checkpoint={trained.checkpoint}", f"--ier={tmp_path / directory}"
        )
        assert_told(done, *names)


BODY = """
import sys, time, logging, ray
from ier_ray.cluster.connection import connect
from ier_ray.cluster.job import run_job
from ier_ray.cluster.logs import show_in_job
from ier_ray.config import Settings
@ray.remote
def task():
    show_in_job()
    print("printed by a task", file=sys.stderr)
    logging.getLogger("ier_ray.test").info("two\\nlines")
    logging.getLogger("elsewhere").error("of another library")
class Nothing(Settings):
    pass
def body(_):
    connect()
    ray.get(task.remote())
    time.sleep(2)
    {body}
sys.exit(run_job(Nothing, body, program="test", purpose="", arguments=[]))
"""


def start(body: str) -> subprocess.Popen[str]:
    """A job of this test, with standard output and error in pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", BODY.replace("{body}", body)],
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def logs_of(error: str) -> list[Path]:
    return [Path(found) for found in re.findall(r"\(log: (\S+)\)", error)]


def test_a_bug_is_one_line_and_its_traceback_in_the_log(cluster: None) -> None:
    job = start("raise ValueError('odd')")
    output, error = job.communicate(timeout=100)
    assert (job.returncode, output) == (1, "")
    last = error.splitlines()[-1]
    assert last.startswith("test: unexpected error: ValueError: odd; please report it with the log")
    assert "Traceback" not in error
    (log,) = logs_of(error)
    assert "ValueError: odd" in log.read_text()
    log.unlink()


def test_what_workers_print_is_sorted(cluster: None) -> None:
    job = start("raise ValueError('odd')")
    _, error = job.communicate(timeout=100)
    (log,) = logs_of(error)
    shown = [line.rpartition("\x1b[0m ")[2] for line in error.splitlines()]
    assert shown.count("two") == shown.count("lines") == 1
    for hidden in ("printed by a task", "of another library"):
        assert hidden not in error
        assert hidden in log.read_text()
    log.unlink()


def test_a_job_that_succeeds_leaves_no_log(cluster: None, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        job = start("return {'fine': True}")
        output, _ = job.communicate(timeout=100)
    assert (job.returncode, output) == (0, '{"fine": true}\n')
    assert not list(tmp_path.rglob("*.log"))


def test_ctrl_c_is_one_line(cluster: None) -> None:
    job = start("print('waiting', flush=True); time.sleep(100)")
    assert job.stdout is not None
    assert job.stdout.readline() == "waiting\n"
    time.sleep(0.5)
    job.send_signal(signal.SIGINT)
    _, error = job.communicate(timeout=60)
    assert job.returncode == 130
    assert error.splitlines()[-1].startswith("test: interrupted (log: ")
    assert "Traceback" not in error
    for log in logs_of(error):
        log.unlink()
