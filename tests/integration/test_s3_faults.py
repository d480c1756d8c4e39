"""Writes that fail at random bytes, on a real S3-protocol server on loopback.

After each, every object is as it was, byte for byte, and no parts of uploads are left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from moto.server import ThreadedMotoServer
from support.checkpoints import manifest_of
from support.cutting_proxy import CuttingProxy, Fault, proxying

from ier_ray import s3, storage
from ier_ray.data.provenance import SeenRows
from ier_ray.errors import StorageError
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.training.checkpoint import (
    export_checkpoint,
    load_checkpoint,
    save_checkpoint,
)

BUCKET = "ier-ray-faults"
PART = s3.PART_BYTES
SIZES = [1, 1000, PART, PART + 1, 2 * PART + 12_345, 3 * PART + 1]
SEED = 29


@pytest.fixture(scope="module")
def proxy() -> Iterator[CuttingProxy]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch, proxying(server.get_host_and_port()) as proxy:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield proxy
    server.stop()


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No retries, which only cost time where every attempt fails."""
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")  # another client than with retries


def objects() -> dict[str, bytes]:
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        entry["Key"]: client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        for entry in listed
    }


def unfinished_uploads() -> list[str]:
    listed = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)
    return [upload["Key"] for upload in listed.get("Uploads", [])]


def write(key: str, content: bytes, draw: random.Random, *, fail_at: int | None = None) -> None:
    """Write in pieces of random sizes; raise after ``fail_at`` bytes."""
    end = len(content) if fail_at is None else fail_at
    with storage.writing(f"s3://{BUCKET}/{key}") as stream:
        place = 0
        while place < end:
            step = min(draw.choice([100_000, 3_000_000, 20_000_000]), end - place)
            stream.write(content[place : place + step])
            place += step
        if fail_at is not None:
            raise RuntimeError(f"after {fail_at} bytes")


@pytest.mark.parametrize("size", SIZES)
def test_a_block_that_raises_at_a_random_byte_changes_nothing(
    proxy: CuttingProxy, size: int
) -> None:
    draw = random.Random(SEED + size)
    write("kept", draw.randbytes(5000), draw)
    write("large", draw.randbytes(PART + 5000), draw)
    before = objects()
    for key in ("kept", "large", "new"):
        content = draw.randbytes(size)
        with pytest.raises(RuntimeError, match="bytes"):
            write(key, content, draw, fail_at=draw.randint(0, size))
        assert objects() == before
        assert unfinished_uploads() == []


@pytest.mark.parametrize("how", ["cut", "refuse"])
@pytest.mark.parametrize("size", SIZES)
def test_a_connection_that_fails_at_a_random_byte_changes_nothing(
    proxy: CuttingProxy, one_attempt: None, size: int, how: Fault
) -> None:
    draw = random.Random(SEED * size)
    write("kept", draw.randbytes(5000), draw)
    write("large", draw.randbytes(PART + 5000), draw)
    before = objects()
    for key in ("kept", "large", "new"):
        content = draw.randbytes(size)
        proxy.fail_after(draw.randrange(size), how)
        with pytest.raises(StorageError, match=f"s3://{BUCKET}/{key}: cannot be written"):
            write(key, content, draw)
        assert proxy.failed
        proxy.heal()
        assert objects() == before
        assert unfinished_uploads() == []


def test_the_request_that_completes_an_upload_may_fail_too(
    proxy: CuttingProxy, one_attempt: None
) -> None:
    draw = random.Random(SEED)
    write("kept", draw.randbytes(5000), draw)
    before = objects()
    content = draw.randbytes(2 * PART)
    proxy.fail_after(len(content) + 20)  # within its list of parts
    with pytest.raises(StorageError, match="cannot be written"):
        write("kept", content, draw)
    proxy.heal()
    assert objects() == before
    assert unfinished_uploads() == []


@pytest.mark.parametrize("how", ["cut", "refuse"])
def test_a_failure_that_passes_is_retried(proxy: CuttingProxy, how: Fault) -> None:
    draw = random.Random(SEED)
    content = draw.randbytes(3 * PART + 5)
    proxy.fail_after(draw.randrange(len(content)), how, failures=1)
    write("retried", content, draw)
    assert proxy.failed == 1
    assert objects()["retried"] == content
    assert unfinished_uploads() == []


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two of one run; their weights are sent in more than two parts."""
    found = []
    settings = ModelSettings(image_size=32, width=0.32)
    for epoch in (1, 2):
        torch.manual_seed(epoch)
        manifest = manifest_of(settings, epoch=epoch, step=epoch, metrics={"ier_accuracy": 0.5})
        directory = tmp_path_factory.mktemp("checkpoints") / str(epoch)
        save_checkpoint(
            directory, build_joint_model(settings, num_classes=4), manifest, {}, SeenRows.none()
        )
        found.append(str(directory))
    assert (Path(found[0]) / "model.safetensors").stat().st_size > 2 * PART
    return found


def write_shard(location: str, seed: int) -> None:
    """A Parquet file in row groups, hashed, as shards are written."""
    rows = pa.table({"image": [random.Random(seed).randbytes(500_000) for _ in range(4)]})
    with storage.writing(location) as stream:
        hashed = storage.HashedStream(stream)
        with pq.ParquetWriter(hashed, rows.schema, compression="none") as parquet:
            for _ in range(5):
                parquet.write_table(rows)


def test_a_run_in_which_every_write_fails_loses_nothing(
    proxy: CuttingProxy, one_attempt: None, checkpoints: list[str]
) -> None:
    draw = random.Random(SEED)
    run = f"s3://{BUCKET}/run"
    saves: dict[str, Callable[[int], object]] = {
        f"{run}/best": lambda which: export_checkpoint(checkpoints[which], f"{run}/best"),
        f"{run}/part.parquet": lambda which: write_shard(f"{run}/part.parquet", which),
        f"{run}/run.json": lambda which: storage.write_json(f"{run}/run.json", {"now": which}),
    }
    for save in saves.values():
        save(0)
    before = objects()
    sizes = {key: len(content) for key, content in before.items()}
    for _ in range(4):
        for location, save in saves.items():
            key = location.removeprefix(f"s3://{BUCKET}/")
            first = f"{key}/model.safetensors" if location.endswith("best") else key
            proxy.fail_after(draw.randrange(sizes[first]), draw.choice(["cut", "refuse"]))
            with pytest.raises(StorageError, match=f"{location}.* cannot be written"):
                save(1)
            assert proxy.failed
            proxy.heal()
            assert objects() == before
            assert unfinished_uploads() == []
    assert load_checkpoint(f"{run}/best")[1].epoch == 1
    assert pq.read_table(storage.filesystem(f"{run}/part.parquet")[1], filesystem=s3.filesystem())
    for save in saves.values():
        save(1)
    assert load_checkpoint(f"{run}/best")[1].epoch == 2
