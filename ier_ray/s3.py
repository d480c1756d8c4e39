"""S3 clients for the current AWS environment, and objects written completely or not at all.

pyarrow reads and lists. boto3 writes, because closing a pyarrow stream completes its upload, and
a failure closes the stream, too.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

logger = logging.getLogger(__name__)

FAILURES = (BotoCoreError, ClientError)
"""The exceptions that boto3 raises."""

ATTEMPTS = 3
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")

PART_BYTES = 8 * 2**20
"""Bytes per part of an upload. S3 allows 10,000 parts, so an object has at most 78 GiB."""
PARTS_IN_FLIGHT = 4


def filesystem() -> pafs.FileSystem:
    """pyarrow's filesystem for the current AWS environment variables."""
    return _filesystem_of(_settings())


def client() -> Any:
    """boto3's client for the current AWS environment variables; threads may share it."""
    return _client_of(_settings())


def _settings() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


@lru_cache(maxsize=4)
def _filesystem_of(settings: tuple[tuple[str, str], ...]) -> pafs.FileSystem:
    meta = _client_of(settings).meta  # boto3 also reads the AWS configuration files
    scheme, _, host = meta.endpoint_url.rpartition("://")
    custom = {} if host.endswith(AWS_HOSTS) else {"endpoint_override": host, "scheme": scheme}
    return pafs.S3FileSystem(
        region=meta.region_name,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        **custom,
    )


@lru_cache(maxsize=4)
def _client_of(settings: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001 (boto3 reads them)
    patience = Config(
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=REQUEST_TIMEOUT_S,
    )
    return boto3.Session().client("s3", config=patience)  # the default one caches settings


def has_bucket(bucket: str) -> bool:
    """Whether a bucket exists; also true of one whose existence is all that may be known."""
    try:
        client().head_bucket(Bucket=bucket)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] != "404")
    return True


def create_object(bucket: str, key: str, content: bytes) -> bool:
    """Write an object unless it exists; True if it was written."""
    try:
        client().put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
            return False
        raise
    return True


@contextmanager
def uploading(bucket: str, key: str) -> Iterator[Upload]:
    """A stream that becomes the object when the block ends.

    If the block or the server fails, the parts are discarded and an earlier object is unchanged.
    Only if the response to the last request is lost may the complete new object exist.
    """
    upload = Upload(bucket, key)
    try:
        yield upload
        upload.complete()
    except BaseException:
        upload.abort()
        raise


class Upload(io.RawIOBase, BinaryIO):
    """Writes an object: in one request if it fits one part, else in parts sent by threads.

    Holds at most ``PARTS_IN_FLIGHT + 1`` parts in memory. Closing the stream does nothing: an
    upload that is not completed never becomes an object.
    """

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__()
        self._client = client()
        self._target = {"Bucket": bucket, "Key": key}
        self._checksum = (
            {"ChecksumAlgorithm": "CRC32"}  # as boto3's own transfers do
            if self._client.meta.config.request_checksum_calculation == "when_supported"
            else {}
        )
        self._pending = bytearray()
        self._upload_id = ""
        self._parts: list[Future[dict[str, Any]]] = []
        self._threads = ThreadPoolExecutor(PARTS_IN_FLIGHT)  # starts them as parts come

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, content: Any) -> int:
        """Buffer bytes and send full parts; raises the error of an earlier part that failed."""
        view = memoryview(content).cast("B")
        start = 0
        while start < len(view):
            if len(self._pending) == PART_BYTES:
                self._send()
            end = start + PART_BYTES - len(self._pending)
            self._pending += view[start:end]
            start = end
        return len(view)

    def complete(self) -> None:
        """Publish the written bytes as the object."""
        if not self._upload_id:
            self._client.put_object(**self._target, Body=bytes(self._pending))
            return
        self._send()
        parts = [part.result() for part in self._parts]
        self._client.complete_multipart_upload(
            **self._target, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
        )
        self._threads.shutdown()

    def abort(self) -> None:
        """Discard the written bytes."""
        # Waits for parts in flight: one that arrives after the abort would stay.
        self._threads.shutdown(cancel_futures=True)
        if not self._upload_id:
            return
        try:
            self._client.abort_multipart_upload(**self._target, UploadId=self._upload_id)
        except FAILURES as error:  # logged only: the failure that led here is being raised
            logger.warning(
                "s3://%s/%s: parts of upload %s may be left behind; it cannot be aborted: %s",
                *self._target.values(),
                self._upload_id,
                error,
            )

    def _send(self) -> None:
        """Let a thread upload the pending bytes as the next part."""
        if not self._upload_id:
            started = self._client.create_multipart_upload(**self._target, **self._checksum)
            self._upload_id = started["UploadId"]
        if len(self._parts) >= PARTS_IN_FLIGHT:
            self._parts[-PARTS_IN_FLIGHT].result()
        number, content = len(self._parts) + 1, bytes(self._pending)
        self._pending = bytearray()
        self._parts.append(self._threads.submit(self._upload_part, number, content))

    def _upload_part(self, number: int, content: bytes) -> dict[str, Any]:
        answer = self._client.upload_part(
            **self._target,
            **self._checksum,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=content,
        )
        checksums = {name: value for name, value in answer.items() if name == "ChecksumCRC32"}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}
