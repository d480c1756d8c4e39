"""The service with its jobs as one process without Ray, to be killed at any moment.

python -m support.jobs_server SETTINGS PORT SECONDS
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from ier_ray.inference import Recognizer
from ier_ray.serve.access import Access, Guard
from ier_ray.serve.answers import Answer, ExplainRequest, Predicted
from ier_ray.serve.api import Api
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.jobs.runner import JobRunner
from ier_ray.serve.ports import free_port
from ier_ray.serve.schemas import AppArgs
from ier_ray.serve.service import Service
from support.interface import OwnExplainers
from support.processes import wait_for

TESTS = Path(__file__).parents[1]


class Paced:
    """Explainers whose levels come one after another, some seconds apart."""

    def __init__(self, explainers: OwnExplainers, seconds: float) -> None:
        self._explainers, self._seconds = explainers, seconds

    async def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """As the protocol says."""
        async with contextlib.aclosing(self._explainers.answers(request)) as found:
            async for answer in found:
                yield answer
                await asyncio.sleep(self._seconds)


async def serve(args: AppArgs, port: int, seconds: float) -> None:
    """Serve until a signal."""
    recognizer = Recognizer.load(args.checkpoint, adjust_prior=args.adjust_prior)
    explainers = Paced(OwnExplainers(Explanations(recognizer, args)), seconds)
    if args.jobs is None:
        raise ValueError("settings without jobs")
    runner = JobRunner(
        args.jobs,
        explainers,
        recognizer.manifest.weights_sha256,
        adjust_prior=args.adjust_prior,
    )
    Access.guard = None if args.tokens is None else Guard(args.tokens, args.counters)
    service = Service.of(recognizer, args, explainers, runner)
    config = uvicorn.Config(Api(lambda: service), port=port, log_level="warning")
    await uvicorn.Server(config).serve()
    runner.stop()


@dataclass
class JobsServer:
    """A running process, its address and its output."""

    process: subprocess.Popen[bytes]
    url: str

    def kill(self) -> None:
        """As a crash of the machine would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def jobs_server(
    args: AppArgs, *, seconds: float = 0.0, port: int | None = None
) -> Iterator[JobsServer]:
    """A process that serves.

    Args:
        seconds: between two levels.
        port: to serve on, by default a free one.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "support.jobs_server", args.model_dump_json()]
    process = subprocess.Popen(
        [*command, str(port), str(seconds)], cwd=TESTS, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    found = JobsServer(process, f"http://127.0.0.1:{port}")

    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}")
        try:
            return httpx.get(f"{found.url}/healthz").is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, seconds=60)
        yield found
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    asyncio.run(
        serve(AppArgs.model_validate_json(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    )
