"""Everything against a real S3-protocol server on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
from moto.server import ThreadedMotoServer
from support.processes import training_workers
from support.runs import SIZE, tiny_settings
from support.sources import encoded, samples_of, skipped_of

from ier_ray import storage
from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.trainer import run_training
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import SyntheticSource, open_source
from ier_ray.emotions import FOUR
from ier_ray.errors import StorageError
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import evaluate_predictions
from ier_ray.training.checkpoint import load_checkpoint

BUCKET = "ier-ray-test"
SERVER = os.environ["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="module")
def bucket(cluster: None) -> Iterator[str]:
    server = ThreadedMotoServer(
        ip_address="127.0.0.1", port=int(SERVER.rpartition(":")[2]), verbose=False
    )
    server.start()
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(scope="module")
def remote_shards(bucket: str) -> dict[str, str]:
    source = SyntheticSource(samples=96, size=SIZE, seed=5)
    layout = LayoutSettings(rows_per_shard=40, rows_per_group=20)
    return {
        domain: ingest(
            source, domain, f"{bucket}/shards/{domain}", scheme=FOUR, layout=layout
        ).location
        for domain in ("fer", "ier")
    }


def test_files_on_s3(bucket: str) -> None:
    location = f"{bucket}/some/deep/file.json"
    assert not storage.exists(location)
    storage.write_json(location, {"a": 1})
    assert storage.read_json(location) == {"a": 1}
    assert storage.list_files(f"{bucket}/some") == ["deep/file.json"]
    assert storage.read_range(location, 4, 3) == b'"a"'
    storage.copy_directory(f"{bucket}/some/deep", f"{bucket}/other")
    assert storage.read_json(f"{bucket}/other/file.json") == {"a": 1}
    with storage.local_file(location) as copy:
        assert copy.read_bytes() == storage.read_bytes(location)
    assert not copy.exists()
    for read in (storage.read_bytes, lambda where: list(storage.read_pieces(where))):
        with pytest.raises(StorageError, match=r"s3://ier-ray-test/none: no such file"):
            read(f"{bucket}/none")
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/x: cannot be written"):
        storage.write_bytes("s3://no-such-bucket/x", b"")


def test_a_dataset_with_odd_keys_is_listed_whole(bucket: str) -> None:
    client = boto3.client("s3")
    image = encoded((1, 2, 3))
    keys = ("happy/é b+%20.png", "happy/q?a#1&.bin", "happy/no suffix", "happy/notes.txt")
    for key in (*keys, "happy//twice.png", "happy/", "sad/Thumbs.db"):
        body = b"" if key.endswith("/") else b"text" if "notes" in key else image
        client.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=body)
    source = open_source("auto", f"{bucket}/odd", domain="fer")
    assert sorted(s.locator for s in samples_of(source)) == sorted(keys[:3])
    assert all(source.load("fer", s).image == image for s in samples_of(source))
    assert skipped_of(source) == {
        "happy//twice.png": "unreadable_name",
        "happy/notes.txt": "not_an_image",
        "sad/Thumbs.db": "system",
    }


def test_an_upload_that_fails_half_way_leaves_no_object(bucket: str) -> None:
    def fail_half_way() -> None:
        with storage.writing(f"{bucket}/half/file") as stream:
            stream.write(bytes(2**20))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert not storage.exists(f"{bucket}/half/file")


def test_large_files_are_uploaded_in_parts(bucket: str) -> None:
    content = os.urandom(12 * 2**20)
    with storage.writing(f"{bucket}/large") as stream:
        for start in range(0, len(content), 2**20):
            stream.write(content[start : start + 2**20])
    assert storage.read_bytes(f"{bucket}/large") == content
    head = boto3.client("s3").head_object(Bucket=BUCKET, Key="large")
    assert "-" in head["ETag"]  # the mark of parts


def test_an_object_is_created_once(bucket: str) -> None:
    assert storage.create_json(f"{bucket}/claim.json", 1)
    assert not storage.create_json(f"{bucket}/claim.json", 2)
    assert storage.read_json(f"{bucket}/claim.json") == 1
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/x: cannot be written"):
        storage.create_json("s3://no-such-bucket/x", 1)


def test_a_bucket_that_does_not_exist_is_known_before_anything_is_written(bucket: str) -> None:
    storage.check_writable(f"{bucket}/file")
    storage.check_writable(bucket, directory=True)
    with pytest.raises(StorageError, match="cannot be written: there is no bucket 'no-such-bucket"):
        storage.check_writable("s3://no-such-bucket/x", directory=True)
    name = storage.parsed(bucket)[1].partition("/")[0]
    with pytest.raises(StorageError, match="cannot be written: it is a bucket; give a file in it"):
        storage.check_writable(f"s3://{name}")


def test_endpoint_and_region_may_come_from_the_configuration_file(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_json(f"{bucket}/found.json", 1)
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-3\nendpoint_url = {SERVER}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert storage.read_json(f"{bucket}/found.json") == 1
    assert storage.filesystem(bucket)[0].region == "eu-west-3"


@pytest.mark.timeout(400)
def test_training_reads_from_and_writes_to_s3_and_survives_a_kill(
    remote_shards: dict[str, str], bucket: str
) -> None:
    settings = tiny_settings(remote_shards, f"{bucket}/runs", schedule__epochs=4)
    killed: list[int] = []

    def kill_after_the_first_epoch() -> None:
        while not any("/manifest.json" in name for name in listed(f"{bucket}/runs/run")):
            threading.Event().wait(0.2)
        workers = training_workers()
        workers[0].kill()
        killed.append(workers[0].pid)

    killer = threading.Thread(target=kill_after_the_first_epoch, daemon=True)
    killer.start()
    result = run_training(settings)
    killer.join()
    assert killed
    assert not psutil.pid_exists(killed[0])
    assert (result.epochs, result.steps) == (4, 4 * 4)  # 57 rows, two workers of 8
    assert [record["epoch"] for record in result.history] == [1, 2, 3, 4]
    assert result.checkpoint == f"{bucket}/runs/run/best"
    assert result.last_checkpoint.startswith(f"{bucket}/runs/run/checkpoint_")
    load_checkpoint(result.checkpoint)
    kept = Predictions.read(result.predictions)
    found = evaluate_predictions(kept, domain="ier", part="val")
    assert found.accuracy == pytest.approx(result.metrics["ier_accuracy"])
    assert evaluate_predictions(kept, domain="ier", part="test") == result.test["ier"]


def listed(location: str) -> list[str]:
    try:
        return storage.list_files(location)
    except StorageError:
        return []


def test_wrong_credentials_give_one_clear_error(bucket: str) -> None:
    storage.write_json(f"{bucket}/private.json", 1)
    require_real_credentials_after("0")
    try:
        with pytest.raises(StorageError, match=r"private\.json: cannot be (read|reached)"):
            storage.read_json(f"{bucket}/private.json")
        shards = {domain: f"{bucket}/shards/{domain}" for domain in ("fer", "ier")}
        with pytest.raises(
            StorageError, match=r"claim\.json: cannot be written: .*InvalidAccessKeyId"
        ):
            storage.create_json(f"{bucket}/claim.json", 1)
        with pytest.raises(StorageError, match=r"shards/fer/manifest\.json: cannot be reached"):
            run_training(tiny_settings(shards, f"{bucket}/denied"))
    finally:
        require_real_credentials_after("inf")


def require_real_credentials_after(actions: str) -> None:
    """From then on the server knows no user, so every key is a wrong one."""
    url = f"{SERVER}/moto-api/reset-auth"
    httpx.post(url, content=actions, headers={"content-type": "text/plain"}).raise_for_status()


def test_an_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"s3://any/thing: cannot be reached"):
        storage.exists("s3://any/thing")
    with pytest.raises(StorageError, match=r"s3://any/thing: cannot be written"):
        storage.create_json("s3://any/thing", 1)
