"""Faults on a cluster: each run ends as an undisturbed one does, or in one clear error."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import ray
import ray.train
import torch.distributed
from moto.server import ThreadedMotoServer
from ray.cluster_utils import Cluster
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from support.jobs import Job, start_job
from support.processes import wait_for
from support.runs import EPOCHS, STEPS, tiny_settings
from support.steps import RANKS, descending, double_batches, weights_after

from ier_ray import storage
from ier_ray.cluster.failures import FailureNotice, fit, training_error
from ier_ray.cluster.trainer import TrainResult, make_trainer, run_training
from ier_ray.cluster.worker import RayTrainContext, gathered, local_copy
from ier_ray.errors import (
    DeviceMemoryError,
    IerRayError,
    LostWorkersError,
    StorageError,
    TrainingError,
)
from ier_ray.losses import JointLoss
from ier_ray.serve.ports import free_port
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.loop import out_of_memory
from ier_ray.training.settings import TrainSettings

pytestmark = pytest.mark.alone

NODE = {"object_store_memory": 100 * 2**20}


def settings_of(shards: dict[str, str], directory: Path | str, **changes: Any) -> TrainSettings:
    return tiny_settings(shards, directory, schedule__epochs=EPOCHS, **changes)


def assert_ends_as(found: TrainResult, expected: TrainResult) -> None:
    """The same epochs, each once, the same steps, and losses and accuracies within noise."""
    assert (found.epochs, found.steps) == (EPOCHS, STEPS)
    assert [record["epoch"] for record in found.history] == list(range(1, EPOCHS + 1))
    assert [r["step"] for r in found.history] == [r["step"] for r in expected.history]
    for name in ("total", "ier_val_loss", "fer_val_loss"):
        for record, other in zip(found.history, expected.history, strict=True):
            assert record[name] == pytest.approx(other[name], rel=1e-3), (record["epoch"], name)
    load_checkpoint(found.checkpoint)
    load_checkpoint(found.last_checkpoint)


def has_checkpoint(run: str) -> bool:
    """Whether Ray has recorded a checkpoint, which a restart then begins from."""
    try:
        return b'"checkpoint_2' in storage.read_bytes(f"{run}/checkpoint_manager_snapshot.json")
    except StorageError:
        return False


@pytest.mark.timeout(400)
def test_a_killed_driver_goes_on_under_the_same_name(
    shards: dict[str, str],
    tmp_path: Path,
    trained: TrainResult,
    jobs: list[Job],
) -> None:
    settings = settings_of(shards, tmp_path, name="driver")
    jobs.append(start_job(settings, tmp_path, ray.get_runtime_context().gcs_address))
    wait_for(lambda: has_checkpoint(f"{tmp_path}/driver"))
    os.killpg(jobs[0].pid, signal.SIGKILL)
    assert jobs[0].wait(30) == -signal.SIGKILL
    assert not storage.exists(f"{tmp_path}/driver/history.json")  # it was not done
    assert_ends_as(run_training(settings), trained)


@pytest.fixture(scope="module")
def head_node() -> Iterator[Cluster]:
    """A cluster of one node beside the session's: room for a worker of two CPUs and a reader."""
    head = {"num_cpus": 3, "dashboard_port": free_port(), **NODE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def nodes(head_node: Cluster) -> Cluster:
    """The same with a second node, which has room for another worker."""
    if not head_node.worker_nodes:
        head_node.add_node(num_cpus=2, **NODE)
    return head_node


def lose_the_second(nodes: Cluster) -> None:
    """As a machine is lost: at once, with all that runs there."""
    (second,) = nodes.worker_nodes
    nodes.remove_node(second, allow_graceful=False)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_lost_node_is_replaced(
    shards: dict[str, str],
    tmp_path: Path,
    trained: TrainResult,
    nodes: Cluster,
    jobs: list[Job],
) -> None:
    scaling = {"num_workers": 2, "cpus_per_worker": 2.0}
    settings = settings_of(shards, tmp_path, name="node", scaling=scaling)
    jobs.append(start_job(settings, tmp_path, nodes.address))
    wait_for(lambda: has_checkpoint(f"{tmp_path}/node"))
    lose_the_second(nodes)
    nodes.add_node(num_cpus=2, **NODE)
    assert_ends_as(result_of(jobs[0]), trained)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_elastic_run_goes_on_with_fewer_workers(
    shards: dict[str, str],
    tmp_path: Path,
    nodes: Cluster,
    jobs: list[Job],
) -> None:
    scaling = {"num_workers": 2, "min_workers": 1, "cpus_per_worker": 2.0}
    settings = settings_of(shards, tmp_path, name="elastic", scaling=scaling)
    jobs.append(start_job(settings, tmp_path, nodes.address))
    wait_for(lambda: has_checkpoint(f"{tmp_path}/elastic"))
    lose_the_second(nodes)
    found = result_of(jobs[0])
    assert [record["epoch"] for record in found.history] == list(range(1, EPOCHS + 1))
    ends = [0, *(record["step"] for record in found.history)]
    steps = [end - start for start, end in itertools.pairwise(ends)]
    assert steps[0] == 6  # 96 rows, two workers of 8
    assert steps[-1] == 12  # one worker
    assert steps == sorted(steps)


def result_of(job: Job) -> TrainResult:
    """What a job that ends well prints last, with the history it leaves."""
    output, _ = job.communicate(timeout=240)
    assert job.returncode == 0
    record = json.loads(output.splitlines()[-1])
    return TrainResult(**record, history=storage.read_json(f"{record['run']}/history.json"))


def fails_on_one_rank(config: dict[str, Any]) -> None:
    """One rank meets an error, while the other waits for its gradients."""
    if ray.train.get_context().get_world_rank() == 1:
        with Path(config["starts"]).open("a") as starts:
            starts.write("started\n")
        raise config["error"]
    torch.distributed.barrier()


FULL = out_of_memory(TrainSettings.model_validate({"data": {"fer": "f", "ier": "i"}}), epoch=3)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("error", "starts", "kind", "told"),
    [
        (FULL, 1, DeviceMemoryError, r"^epoch 3: .* optimizer.batch_size 16; lower it"),
        (StorageError("s3://b: away"), 2, TrainingError, "worker 1: StorageError: s3://b: away"),
    ],
    ids=["full", "storage"],
)
def test_only_an_error_that_may_pass_restarts_the_workers(
    cluster: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    error: IerRayError,
    starts: int,
    kind: type[Exception],
    told: str,
) -> None:
    trainer = TorchTrainer(
        fails_on_one_rank,
        train_loop_config={"error": error, "starts": f"{tmp_path}/starts"},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name="run",
            storage_path=str(tmp_path),
            failure_config=FailureConfig(max_failures=1),
            callbacks=[FailureNotice()],
        ),
    )
    with pytest.raises(kind, match=told) as caught:
        fit(trainer)
    assert len((tmp_path / "starts").read_text().splitlines()) == starts
    if starts == 1:
        assert type(caught.value) is type(error)
    else:
        said = ""

        def noticed() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return f"training workers failed: worker 1: {type(error).__name__}: {error}" in said

        wait_for(noticed, seconds=20)  # it comes through the cluster's logs
        assert "Traceback" not in said


def reads_copies(config: dict[str, str]) -> dict[str, Any]:
    """Each rank reads the same copy, and meets the same error where there is none."""
    with local_copy(config["there"]) as directory:
        seen = gathered((str(directory), (directory / "manifest.json").read_text()))
    gathered(None)
    left = directory.exists()
    try:
        with local_copy(config["missing"]) as directory:
            found = str(sorted(directory.iterdir()))
    except StorageError as error:
        found = str(error)
    return {"seen": seen, "left": left, "missing": gathered(found)}


@pytest.mark.timeout(300)
def test_ranks_share_a_whole_copy_of_a_remote_checkpoint_or_none_has_one(
    cluster: None, trained: TrainResult, tmp_path: Path
) -> None:
    server = ThreadedMotoServer(
        ip_address="127.0.0.1",
        port=int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]),
        verbose=False,
    )
    server.start()
    try:
        boto3.client("s3").create_bucket(Bucket="copies")
        storage.copy_directory(trained.checkpoint, "s3://copies/there")
        found = fit(
            TorchTrainer(
                reads_copies,
                train_loop_config={"there": "s3://copies/there", "missing": "s3://copies/missing"},
                scaling_config=ScalingConfig(num_workers=2),
                run_config=RunConfig(name="run", storage_path=str(tmp_path)),
            )
        ).return_value
    finally:
        server.stop()
    (first, manifest), second = found["seen"]
    assert second == (first, manifest)
    assert manifest == (Path(trained.checkpoint) / "manifest.json").read_text()
    assert not found["left"]
    for told in found["missing"]:
        assert re.match("s3://copies/missing: cannot be listed", told), told


def test_a_trainer_ends_at_once(shards: dict[str, str], tmp_path: Path) -> None:
    callbacks = make_trainer(tiny_settings(shards, tmp_path)).run_config.callbacks
    assert [type(callback) for callback in callbacks] == [FailureNotice]


def test_the_error_of_several_workers_names_each_and_what_to_do() -> None:
    full = DeviceMemoryError("the device is out of memory with optimizer.batch_size 8")
    broken = RuntimeError("a long text\n\nConnection closed by peer \n")
    assert training_error({1: full, 0: broken}) is full
    found = training_error({1: OSError("no route"), 0: broken})
    assert type(found) is LostWorkersError
    assert str(found) == (
        "training failed more often than scaling.max_failures allows (worker 0: RuntimeError: "
        "Connection closed by peer; worker 1: OSError: no route); started again with the same "
        "name and settings, it resumes from its last checkpoint"
    )


def three_steps() -> dict[str, Any]:
    """Three steps under Ray Train's DDP, each rank on every second batch."""
    torch.set_num_threads(1)
    context = RayTrainContext("", terminal=False)
    plain = descending("same_image")
    trained = replace(plain, wrapped=context.wrap(plain.model))
    mine = double_batches(3 * RANKS, 8)[context.rank :: RANKS]
    found = weights_after(trained, JointLoss(balance=2.0), mine, accumulate=1)
    return {name: weight.numpy() for name, weight in found.items()}  # Ray returns no tensors


@pytest.mark.timeout(300)
def test_two_workers_are_one_with_the_double_batch(cluster: None, tmp_path: Path) -> None:
    trainer = TorchTrainer(
        three_steps,
        scaling_config=ScalingConfig(num_workers=RANKS),
        run_config=RunConfig(name="three-steps", storage_path=str(tmp_path)),
    )
    found = fit(trainer).return_value
    data = double_batches(3, 8 * RANKS)
    alone = weights_after(descending("same_image"), JointLoss(balance=2.0), data, accumulate=1)
    start = weights_after(descending("same_image"), JointLoss(balance=2.0), [], accumulate=1)
    for weight, expected in alone.items():
        mine = torch.from_numpy(found[weight])
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-9, msg=weight)
        assert (expected - start[weight]).abs().max() > 1e-4


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_storage_that_fails_for_a_while(
    shards: dict[str, str], tmp_path: Path, trained: TrainResult
) -> None:
    """The S3 server of a run's checkpoints is away for some seconds, from an epoch's middle on."""
    port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])

    def serve() -> ThreadedMotoServer:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        return server

    servers = [serve()]
    boto3.client("s3").create_bucket(Bucket="faults")
    settings = settings_of(shards, "s3://faults/runs", name="storage")

    def interrupt() -> None:
        wait_for(lambda: has_checkpoint("s3://faults/runs/storage"))
        servers.pop().stop()
        time.sleep(8)
        servers.append(serve())

    interruption = threading.Thread(target=interrupt, daemon=True)
    interruption.start()
    try:
        result = run_again_after_an_error(settings, interruption)
        assert_ends_as(result, trained)
        assert len(storage.list_files(f"{result.run}/tensorboard")) == EPOCHS
    finally:
        interruption.join()
        servers.pop().stop()


def run_again_after_an_error(
    settings: TrainSettings, interruption: threading.Thread
) -> TrainResult:
    """A worker's failed upload is tried again by Ray; where Ray's own record of the run could not
    be written, the run ends in one error, and goes on when it is started again."""
    try:
        return run_training(settings)
    except TrainingError as error:
        interruption.join()
        told = r"training (stopped|failed).*faults.*again with the same name.* last checkpoint$"
        assert re.match(told, str(error), re.DOTALL), error  # noqa: PT017 (there may be none)
        return run_training(settings)
