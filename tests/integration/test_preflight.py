"""What cannot work is refused within seconds of joining, with numbers and the cure."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import ray
from moto.server import ThreadedMotoServer
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig
from support.asking import Asker, Said, asker
from support.lone_node import lone_node
from support.processes import wait_for
from support.runs import tiny_settings
from support.sweeps import sweep

from ier_ray import storage
from ier_ray.cluster import nodes as cluster_nodes
from ier_ray.cluster.nodes import alive_nodes, on_nodes
from ier_ray.cluster.preflight import (
    bytes_below,
    check_cluster,
    check_room,
    footprint_of_run,
)
from ier_ray.cluster.trainer import TrainResult, run_training
from ier_ray.cluster.tuner import run_sweep
from ier_ray.errors import StorageError
from ier_ray.serve.ports import free_port
from ier_ray.training.footprint import Footprint
from ier_ray.training.settings import TrainSettings

pytestmark = pytest.mark.alone

NODE = {"object_store_memory": 100 * 2**20}
SECONDS = 20.0
"""After joining, within which a run is refused."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster beside the session's: a head with room for a reader, and room for one worker."""
    head = {"num_cpus": 1, "dashboard_port": free_port(), **NODE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=3, **NODE)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def ask(nodes: Cluster) -> Iterator[Asker]:
    with asker(nodes.address) as asked:
        yield asked


@pytest.fixture(scope="module")
def hidden(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A directory that a third node, with room for one more worker, does not see; its process."""
    directory = tmp_path_factory.mktemp("hidden")
    with lone_node(nodes.address, directory, cpus=3) as process:
        wait_for(lambda: len(nodes.global_state.total_resources_per_node()) == 3)
        yield directory, process


def two_workers(shards: dict[str, str], directory: Path | str, **changes: Any) -> TrainSettings:
    """A run for which the nodes have room."""
    scaling = {"num_workers": 2, "cpus_per_worker": 2.0} | changes.pop("scaling", {})
    return tiny_settings(shards, directory, scaling=scaling, **changes)


def assert_refused(said: Said, told: str) -> None:
    assert re.fullmatch(told, said.refused), said.refused
    assert said.seconds < SECONDS


@pytest.mark.timeout(200)
def test_what_fits_may_start_and_nothing_is_left(
    ask: Asker, hidden: tuple[Path, int], shards: dict[str, str], tmp_path: Path
) -> None:
    said = ask(two_workers(shards, tmp_path / "new/runs"))
    assert (said.refused, said.warnings) == ("", [])
    assert not any(tmp_path.iterdir())


@pytest.mark.timeout(200)
def test_too_many_workers_for_the_nodes(
    ask: Asker, hidden: tuple[Path, int], shards: dict[str, str], tmp_path: Path
) -> None:
    said = ask(two_workers(shards, tmp_path, scaling={"num_workers": 3}))
    assert_refused(
        said,
        "CapacityError: training with 3 workers of 2 CPUs and 0.9 CPUs to read data needs 6.9 "
        "CPUs and 0 GPUs, the cluster has 7 and 0; on its 3 nodes, each worker on one, 2 "
        "such workers fit; lower scaling.num_workers or scaling.cpus_per_worker, or add nodes",
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.timeout(200)
def test_paths_that_one_node_does_not_see(
    nodes: Cluster, ask: Asker, hidden: tuple[Path, int], shards: dict[str, str], tmp_path: Path
) -> None:
    directory, _ = hidden
    shutil.copytree(shards["ier"], directory / "ier")
    (directory / "w.pth").touch()
    seeing = [node.node_id[:8] for node in (nodes.head_node, *nodes.worker_nodes)]
    runs, data, weights = (
        two_workers(shards, directory / "runs"),
        two_workers(shards | {"ier": str(directory / "ier")}, tmp_path),
        two_workers(shards, tmp_path, schedule__pretrained=str(directory / "w.pth")),
    )
    told = {
        "storage is .*/runs, which cannot be used there .what the driver .* is not there.": runs,
        "data.ier is .*/ier, which cannot be read there .*no shard set here.*": data,
        "schedule.pretrained is .*/w.pth, which is not there": weights,
    }
    for what, settings in told.items():
        cure = "Give paths that all nodes share, or s3:// URIs that they may read and write"
        said = ask(settings)
        assert_refused(said, rf"StorageError: node (\w{{8}}) \([\d.]+\): {what}\. {cure}")
        assert not any(node in said.refused for node in seeing)
    assert sorted(path.name for path in directory.iterdir()) == ["ier", "w.pth"]


@pytest.mark.timeout(200)
def test_an_autoscaler_is_judged_by_what_it_may_start(
    nodes: Cluster, ask: Asker, hidden: tuple[Path, int], shards: dict[str, str], tmp_path: Path
) -> None:
    gpus = two_workers(shards, tmp_path, scaling={"use_gpu": True, "num_workers": 4})
    assert_refused(ask(gpus), ".*needs 8.9 CPUs and 4 GPUs, the cluster has 7 and 0; on its 3.*")
    assert ask(gpus).concurrent == 1
    report(nodes, group("head", 1, {"CPU": 1}), group("worker", 8, {"CPU": 16, "GPU": 1}))
    said = ask(gpus)
    assert (said.refused, said.warnings, said.concurrent) == ("", [], 2)
    assert_refused(
        ask(two_workers(shards, tmp_path, scaling={"use_gpu": True, "num_workers": 9})),
        ".*needs 18.9 CPUs and 9 GPUs, the cluster has 129 and 8, with all that its autoscaler may "
        "start; on its 9 nodes, each worker on one, 8 such workers fit; lower .*",
    )
    report(nodes)
    assert_refused(ask(gpus), ".*the cluster has 7 and 0; on its 3.*")


def group(name: str, count: int, resources: dict[str, int]) -> dict[str, Any]:
    return {"name": name, "max_count": count, "resources": resources}


def report(nodes: Cluster, *groups: dict[str, Any]) -> None:
    """Tell the cluster what its autoscaler may start, as autoscalers do."""
    config = ClusterConfig(node_group_configs=groups)
    ray._raylet.GcsClient(address=nodes.gcs_address).report_cluster_config(
        config.SerializeToString()
    )


@pytest.mark.timeout(200)
def test_a_node_that_does_not_answer_is_named_and_not_waited_for(
    ask: Asker, hidden: tuple[Path, int], shards: dict[str, str], tmp_path: Path
) -> None:
    (raylet,) = [
        part
        for part in psutil.Process(hidden[1]).children(recursive=True)
        if "raylet" in part.name()
    ]
    raylet.send_signal(signal.SIGSTOP)
    try:
        said = ask(two_workers(shards, tmp_path))
    finally:
        raylet.send_signal(signal.SIGCONT)
    assert said.refused == ""
    (warning,) = said.warnings
    assert re.fullmatch(r"node \w{8} \([\d.]+\): no answer within 10 s; not checked", warning)
    assert said.seconds < SECONDS


def answer_late() -> str:
    time.sleep(2)
    return "here"


def test_a_first_answer_is_waited_for_longer(
    cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process starts slowly on a machine that does much else."""
    monkeypatch.setattr(cluster_nodes, "ANSWER_S", 0.5)
    able = alive_nodes()
    assert on_nodes(answer_late, able) == ({}, able)
    assert on_nodes(answer_late, able, patience=30.0) == (dict.fromkeys(able, "here"), [])


@pytest.fixture
def bucket(cluster: None) -> Iterator[Callable[[str], str]]:
    """Makes buckets in which some actions are denied."""
    server = ThreadedMotoServer(
        ip_address="127.0.0.1",
        port=int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]),
        verbose=False,
    )
    server.start()

    def denying(action: str) -> str:
        client = boto3.client("s3")
        name = f"no-{action.lower()}"
        client.create_bucket(Bucket=name)
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": f"s3:{action}",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        return name

    yield denying
    server.stop()


def test_an_unwritable_bucket(bucket: Callable[[str], str], shards: dict[str, str]) -> None:
    name = bucket("PutObject")
    settings = tiny_settings(shards, f"s3://{name}/runs")
    started = time.monotonic()
    told = rf"^s3://{name}/runs/run/\S+: cannot be written: .* PutObject .*; give a storage where"
    with pytest.raises(StorageError, match=told):
        run_training(settings)
    assert time.monotonic() - started < SECONDS
    assert not boto3.client("s3").list_objects_v2(Bucket=name)["KeyCount"]


def test_a_bucket_is_probed_and_left_empty(
    bucket: Callable[[str], str], shards: dict[str, str]
) -> None:
    name = bucket("PutBucketTagging")
    settings = tiny_settings(shards, f"s3://{name}/runs")
    check_cluster(settings, f"s3://{name}/runs/run", footprint_of_run(settings))
    assert not boto3.client("s3").list_objects_v2(Bucket=name)["KeyCount"]


def test_a_sweep_for_which_no_disk_is_large_enough(shards: dict[str, str], tmp_path: Path) -> None:
    settings = sweep(shards, tmp_path, {"model__width": 0.1}, trials=10**9, keep=10**9)
    with pytest.raises(StorageError) as refused:
        run_sweep(settings)
    told = re.fullmatch(
        rf"{tmp_path}/small: needs about ([\d.]+) GiB \(records of 1000000000 trials; weights of "
        r"1000000000, ([\d.]+) GiB each; \d+ at the same time with \d checkpoints of [\d.]+ GiB; "
        r"the best one exported, [\d.]+ GiB\), its disk has ([\d.]+) GiB free; free some, or give "
        r"another storage",
        str(refused.value),
    )
    assert told is not None, refused.value
    needed, each, free = map(float, told.groups())
    assert needed == pytest.approx(1e9 * each, rel=0.1)
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free / 2**30, rel=0.1)
    assert not any(tmp_path.iterdir())


def test_a_run_that_fits_takes_what_was_predicted(trained: TrainResult) -> None:
    run = Path(trained.run)
    settings = TrainSettings.model_validate(storage.read_json(f"{run}/settings.json"))
    copies = [path for path in run.iterdir() if path.name.startswith("checkpoint_2")]
    found = footprint_of_run(settings)
    extra = (2 - len(copies)) * found.checkpoint  # the best may be the last
    assert found.kept - extra == pytest.approx(bytes_below(run), rel=0.2)
    for copy in copies:
        assert found.checkpoint == pytest.approx(bytes_below(copy), rel=0.05)


def test_what_a_run_has_there_already_is_its_own(tmp_path: Path) -> None:
    tib = 2**40
    with (tmp_path / "checkpoint").open("wb") as large:
        large.truncate(2 * tib)  # it takes no room on the disk
    free = shutil.disk_usage(tmp_path).free
    check_room(str(tmp_path), Footprint(kept=free + tib, passing=0, what="all", checkpoint=0))
    with pytest.raises(StorageError, match=r"GiB free and 2048\.0 GiB from an earlier start; free"):
        check_room(str(tmp_path), Footprint(kept=free, passing=3 * tib, what="all", checkpoint=0))
