"""Faults during sweeps: each ends as an undisturbed one does, and finished trials stay so."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
from ray.air.execution import FixedResourceManager, ResourceRequest
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.cluster_utils import Cluster
from ray.exceptions import OutOfMemoryError, RayActorError
from support.jobs import Job, start_job
from support.processes import descendants, wait_for
from support.sweeps import sweep, trial_files

from ier_ray import storage
from ier_ray.cluster.trial_queue import TrialActors
from ier_ray.cluster.tuner import SweepResult
from ier_ray.serve.ports import free_port
from ier_ray.tuning.leaderboard import Row, rows_of
from ier_ray.tuning.trials import TrialRecord, TrialStore

pytestmark = pytest.mark.alone

NODE = {"object_store_memory": 100 * 2**20}
SHORTEST_S = 8.0
"""Seconds of the shortest epoch within twice of which a stall is named."""


def rows_from(job: Job, *, seconds: float = 300) -> list[Row]:
    """The trials that a job prints, which ends well and in time."""
    output, _ = job.communicate(timeout=seconds)
    assert job.returncode == 0
    return [Row(**row) for row in json.loads(output.splitlines()[-1])["trials"]]


def records(directory: Path) -> list[TrialRecord]:
    return TrialStore(f"{directory}/small").all()


def epochs_of(directory: Path, name: str) -> int:
    """Epochs of a trial whose checkpoints are complete; 0 before there is one."""
    found = directory.glob(f"small/trials/{name}/epoch-*/manifest.json")
    return max((int(path.parent.name.removeprefix("epoch-")) for path in found), default=0)


def assert_as_undisturbed(found: list[Row], expected: list[Row]) -> None:
    assert [(t.name, t.point, t.state, t.epochs, t.best_epoch) for t in found] == [
        (t.name, t.point, t.state, t.epochs, t.best_epoch) for t in expected
    ]
    for trial, other in zip(found, expected, strict=True):
        assert trial.metrics == pytest.approx(other.metrics, rel=1e-3)


@pytest.mark.timeout(600)
def test_a_driver_killed_at_any_moment_goes_on_under_the_same_name(
    shards: dict[str, str],
    tmp_path: Path,
    swept: SweepResult,
    jobs: list[Job],
) -> None:
    settings, address = sweep(shards, tmp_path), ray.get_runtime_context().gcs_address

    def start() -> Job:
        jobs.append(start_job(settings, tmp_path, address))
        return jobs[-1]

    def kill() -> None:
        os.killpg(jobs[-1].pid, signal.SIGKILL)
        assert jobs[-1].wait(30) == -signal.SIGKILL

    start()  # killed before Tune has written anything: a trial is proposed, and has not begun
    wait_for(lambda: storage.exists(f"{tmp_path}/small/trials/trial-0000/trial.json"))
    kill()
    (waiting,) = records(tmp_path)
    assert (waiting.history, waiting.ended) == ([], False)

    start()  # killed in the second epoch
    wait_for(lambda: epochs_of(tmp_path, "trial-0000") == 1)
    kill()
    assert not records(tmp_path)[0].ended

    best = tmp_path / "small" / "trials" / "trial-0000" / "best"
    best.touch()  # a file where the trial's weights will go: it cannot end
    start()  # killed after the last checkpoint, before the result
    wait_for(lambda: epochs_of(tmp_path, "trial-0000") == 3)
    kill()
    best.unlink()
    assert (len(records(tmp_path)[0].history), records(tmp_path)[0].ended) == (3, False)

    start()  # killed after the first trial has finished
    wait_for(lambda: len(records(tmp_path)) == 2)
    kill()
    finished = trial_files(tmp_path)["trial-0000"]
    assert_as_undisturbed(rows_from(start()), swept.trials)
    assert trial_files(tmp_path)["trial-0000"][0] == finished[0]


@pytest.fixture
def readers() -> Iterator[Readers]:
    """The readers of this session's cluster, which run again when the test ends."""
    readers = Readers()
    yield readers
    readers.resume()


class Readers:
    """Stops and continues the processes that read, or that wait for a task of reading."""

    def __init__(self) -> None:
        self.stopped: set[psutil.Process] = set()

    def stop(self) -> None:
        """Send SIGSTOP to all that run."""
        for process in set(descendants("RowReader.read", "ray::IDLE")) - self.stopped:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                self.stopped.add(process)

    def resume(self) -> None:
        """Send SIGCONT to those that were stopped."""
        for process in self.stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self.stopped.clear()


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_trial_that_stands_still_is_named_and_one_that_is_killed_is_started_again(
    shards: dict[str, str], tmp_path: Path, jobs: list[Job], readers: Readers
) -> None:
    settings = sweep(
        shards, tmp_path, {"schedule__epochs": 4, "schedule__warmup_epochs": 0}, trials=1
    )
    log = tmp_path / "log"
    jobs.append(start_job(settings, tmp_path, ray.get_runtime_context().gcs_address, log))
    wait_for(lambda: epochs_of(tmp_path, "trial-0000") == 1)
    (epoch,) = records(tmp_path)[0].history

    def is_named() -> bool:
        readers.stop()
        return "trial-0000 (loss.balance 1, optimizer.batch_size 8) stands still" in log.read_text()

    wait_for(is_named, seconds=2 * max(epoch["seconds"], SHORTEST_S))
    assert " in epoch 2 of 4: " in log.read_text()
    assert len(records(tmp_path)[0].history) == 1
    readers.resume()
    wait_for(lambda: "trial-0000 goes on: epoch 2 ended after" in log.read_text())

    (killed,) = descendants("ImplicitFunc")
    killed.kill()  # goes on from its checkpoint
    (row,) = rows_from(jobs[0])
    assert (row.state, row.epochs, row.error) == ("finished", 4, None)
    steps = [record["step"] for record in records(tmp_path)[0].history]
    assert steps == [steps[0], 2 * steps[0], 3 * steps[0], 4 * steps[0]]
    told = log.read_text()
    assert [told.count(f"trial-0000: epoch {epoch}/4") for epoch in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert told.count("epoch 1/4") == 1  # the trial's own line is not shown as well
    assert told.count("stands still") == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_lost_node_costs_no_trial(
    shards: dict[str, str], tmp_path: Path, jobs: list[Job]
) -> None:
    head = {"num_cpus": 3, "dashboard_port": free_port(), **NODE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=2, **NODE)
        settings = sweep(
            shards,
            tmp_path,
            # Long enough for both trials to have begun before one ends.
            {"schedule__epochs": 10, "scaling": {"num_workers": 1, "cpus_per_worker": 2.0}},
            trials=3,
            scheduler="none",
            max_concurrent=None,
        )
        jobs.append(start_job(settings, tmp_path, cluster.address))
        wait_for(lambda: [len(one.history) > 0 for one in records(tmp_path)] == [True, True])
        assert not any(one.ended for one in records(tmp_path))
        cluster.remove_node(second, allow_graceful=False)  # as a machine is lost: at once
        rows = rows_from(jobs[0])
    finally:
        cluster.shutdown()
    assert [(row.state, row.epochs, row.error) for row in rows] == [("finished", 10, None)] * 3


@pytest.mark.slow
@pytest.mark.timeout(800)
def test_two_sweeps_with_clusters_of_their_own_do_not_disturb_each_other(
    shards: dict[str, str], tmp_path: Path, jobs: list[Job]
) -> None:
    """Ray Train frees what a lost run held: it must not take the other cluster's view of it."""
    scaling = {"num_workers": 2, "cpus_per_worker": 0.4, "max_failures": 0}
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        changes = {"schedule__epochs": 1, "scaling": scaling}
        settings = sweep(shards, place, changes, trials=2, scheduler="none")
        jobs.append(start_job(settings, place, "local"))
    for job, place in zip(jobs, places, strict=True):
        rows = rows_from(job, seconds=600)  # four nested runs on the same cores
        assert [(row.state, row.epochs, row.error) for row in rows] == [("finished", 1, None)] * 2
        assert rows == rows_of(records(place))


class Idle:
    """An actor that does nothing."""


def test_a_trial_killed_for_its_memory_is_lost_like_any_other(cluster: None) -> None:
    """Ray's error for it is neither of those that Tune expects, and would end the sweep."""
    met: list[Exception] = []
    actors = TrialActors(FixedResourceManager({"CPU": 1}))
    actor = actors.add_actor(
        Idle, {}, ResourceRequest([{"CPU": 1}]), on_error=lambda _, error: met.append(error)
    )
    wait_for(lambda: actors.next(timeout=1) or actors.num_live_actors == 1)
    task = TrackedActorTask(actor, on_error=lambda _, error: met.append(error))
    actors._actor_task_failed(task, OutOfMemoryError("full"))
    assert [type(error) for error in met] == [RayActorError, RayActorError]
    assert "full" in str(met[0])
    assert actors.num_live_actors == 0
