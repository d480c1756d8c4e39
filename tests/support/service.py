"""A running service, its processes, and what its replies should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from ray import serve

from ier_ray.data.images import decode_square, encode_png
from ier_ray.data.synthetic import draw_scene
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.records import ExplanationRecord
from ier_ray.serve.app import Ingress
from ier_ray.serve.deployments import Explainer
from ier_ray.serve.jobs.replica import JobKeeper
from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs
from ier_ray.training.checkpoint import read_checkpoint_manifest
from support.processes import descendants

MODEL = "/v1/models/ier"
PREDICT, EXPLAIN = f"{MODEL}:predict", f"{MODEL}:explain"


def scene(seed: int) -> bytes:
    """A drawing as PNG; all differ."""
    return encode_png(draw_scene("anger", size=48, seed=seed).image)


def deploy(args: AppArgs, *, explainers: int = 1, **options: Any) -> None:
    """Start the application, or replace the running one."""
    manifest = read_checkpoint_manifest(args.checkpoint)
    pinned = args.model_copy(update={"weights_sha256": manifest.weights_sha256})
    explainer = Explainer.options(num_replicas=explainers, **options)  # type: ignore[attr-defined]
    explainers = explainer.bind(pinned)
    keeper = None if args.jobs is None else JobKeeper.bind(pinned, explainers)  # type: ignore[attr-defined]
    serve.run(Ingress.bind(pinned, explainers, keeper), name="ier", route_prefix="/")  # type: ignore[attr-defined]


@contextmanager
def running(args: AppArgs, *, explainers: int = 1, **options: Any) -> Iterator[str]:
    """The service's base URL."""
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        deploy(args, explainers=explainers, **options)
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


def replicas(name: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas in this session's cluster."""
    return descendants(f"ServeReplica:ier:{name}")


def expected_probabilities(recognizer: Recognizer, encoded: bytes) -> np.ndarray:
    """What the network says without a service."""
    size = recognizer.manifest.model.image_size
    return recognizer.probabilities(decode_square(encoded, size)[None])[0]


def expected_values(
    recognizer: Recognizer, encoded: bytes, settings: ExplainerSettings
) -> np.ndarray:
    """Values of the leaves, explained without a service."""
    pixels = decode_square(encoded, recognizer.manifest.model.image_size)
    found = settings.explainer().explain(recognizer.evaluator(pixels, settings))
    record = ExplanationRecord.of(found, settings, recognizer.manifest.label_scheme)
    return np.array([leaf.value for leaf in record.leaves])


def values(reply: dict[str, Any]) -> np.ndarray:
    """Values of the leaves of a reply."""
    return np.array([leaf["value"] for leaf in reply["leaves"]])


def events_of(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each server-sent event, when it arrives."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def hash_of(checkpoint: Path) -> str:
    """Of its weights."""
    return read_checkpoint_manifest(str(checkpoint)).weights_sha256


def explain(url: str, seed: int, *, timeout: float = 60, **query: Any) -> httpx.Response:
    """The reply to a request for an explanation of a drawing."""
    return httpx.post(f"{url}{EXPLAIN}", content=scene(seed), params=query, timeout=timeout)
