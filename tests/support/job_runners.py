"""Whoever keeps the jobs, in this process: one after another, each with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from dbos._dbos import _get_or_create_dbos_registry

from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.serve.answers import Answer, Explainers, ExplainRequest, Predicted
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.jobs.records import Job, JobSpec, Refusal
from ier_ray.serve.jobs.runner import JobRunner
from ier_ray.serve.schemas import AppArgs
from support.interface import OwnExplainers
from support.pictures import picture, saved

SETTINGS = ExplainerSettings(depth=3, score="logit")


class ScriptedExplainers:
    """Real explainers; each answer is passed through a function, which may raise instead."""

    def __init__(self, explainers: Explainers, change: Callable[[Answer], Answer]) -> None:
        self._explainers, self._change = explainers, change

    async def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """As the protocol says."""
        async with contextlib.aclosing(self._explainers.answers(request)) as found:
            async for answer in found:
                yield self._change(answer) if isinstance(answer, Answer) else answer


def unchanged(answer: Answer) -> Answer:
    return answer


@dataclass
class Keeper:
    """A runner, and jobs for it."""

    runner: JobRunner

    async def submit(self, job: str, *images: int | Refusal, **spec: Any) -> Job:
        """A job of the pictures of these seeds."""
        asked = spec_of(*images, **spec)
        uploads = [saved(picture(each)) for each in images if isinstance(each, int)]
        return await self.runner.submit(job, asked, uploads)

    async def ended(self, job: str) -> Job:
        """A job when it has ended."""
        while (found := await self.runner.get("", job)).ended is None:
            await asyncio.sleep(0.05)
        return found


def spec_of(*images: int | Refusal, **spec: Any) -> JobSpec:
    uploads = tuple(
        hashlib.sha256(saved(picture(each))).hexdigest() if isinstance(each, int) else each
        for each in images
    )
    given = {"owner": "", "network": "ier", "settings": SETTINGS, "target": None}
    return JobSpec(**given | {"uploads": uploads} | spec)


@contextlib.asynccontextmanager
async def keeper(
    args: AppArgs, change: Callable[[Answer], Answer] = unchanged, *, weights: str | None = None
) -> AsyncIterator[Keeper]:
    """Whoever keeps the jobs of some settings, until the end.

    Args:
        weights: hash that the explainers say they have.
    """
    if args.jobs is None:
        raise ValueError("settings without jobs")
    recognizer = Recognizer.load(args.checkpoint)
    explanations = Explanations(recognizer, args)
    explainers: Explainers = ScriptedExplainers(OwnExplainers(explanations), change)
    runner = JobRunner(
        args.jobs, explainers, weights or recognizer.manifest.weights_sha256, adjust_prior=False
    )
    try:
        yield Keeper(runner)
    finally:
        runner.stop()
        _get_or_create_dbos_registry().instance_info_map.clear()  # a process has one otherwise
        explanations.stop()
