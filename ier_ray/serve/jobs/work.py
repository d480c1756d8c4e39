"""Explaining one image of a job, so that no finished level is computed twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import TypeVar, TypeVarTuple

from ier_ray.errors import StorageError
from ier_ray.explain.engine import Spent
from ier_ray.serve.answers import Answer, Explainers, ExplainRequest, Predicted
from ier_ray.serve.errors import BUSY, WORDS, RefusedError
from ier_ray.serve.jobs.records import NO_STORAGE, JobSpec, Outcome, Refusal
from ier_ray.serve.jobs.store import JobStore
from ier_ray.serve.schemas import ExplainParameters

logger = logging.getLogger(__name__)

LOST = "explainer_lost"
NOT_BEGUN = Outcome()
MOST_LOSSES = 5
"""How often an explanation may end midway without a new level before its image is to blame."""
MOST_WAIT_S = 30.0
"""Most seconds before a busy service, or a storage that fails, is asked again."""
STORAGE_S = 900.0
"""Seconds after which an image fails whose storage cannot be used."""

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
Notify = Callable[[Outcome], None]
"""Gets how far an explanation is."""


@dataclass(frozen=True)
class JobExplainer:
    """Explains images of jobs, however often the explainers die or the process starts again.

    Scores are kept with every level that is finished; an explainer that begins again is given them.

    Args:
        explainers: whoever explains.
        store: of scores and explanations.
    """

    explainers: Explainers
    store: JobStore

    async def explained(self, spec: JobSpec, upload: str, notify: Notify) -> Outcome:
        """The explanation of an image, from where an earlier attempt has ended.

        Args:
            upload: SHA-256 of the image file.
        """
        progress = Progress(notify)
        while True:
            try:
                return await self._attempt(spec, upload, progress)
            except StorageError as error:
                logger.error("an image of a job has failed: %s", error)
                return progress.failed(NO_STORAGE)
            except RefusedError as refused:
                progress.losses += refused.error != WORDS[BUSY]
                if refused.status != BUSY or progress.losses > MOST_LOSSES:
                    return progress.failed(refused)
                logger.info("an image of a job waits: %s", refused.detail)
                await asyncio.sleep(min(refused.retry_after_s or 1.0, MOST_WAIT_S))

    async def so_far(self, spec: JobSpec, upload: str) -> Outcome:
        """What is finished of an image's explanation; nothing if the store cannot be used."""
        key = self.store.key(spec, upload)
        try:
            kept = await asyncio.to_thread(self.store.answer, key)
        except StorageError as error:
            logger.warning("the storage of jobs cannot be used: %s", error)
            kept = None
        return NOT_BEGUN if kept is None else outcome_of(key, kept)

    async def _attempt(self, spec: JobSpec, upload: str, progress: Progress) -> Outcome:
        """Go on to the end.

        Raises:
            RefusedError: when the explainers refuse it, or die.
            StorageError: when the store cannot be used for long.
        """
        store = self.store
        key, scores_key = store.key(spec, upload), store.scores_key(spec, upload)
        kept = await stored(store.answer, key)
        if kept is not None:
            outcome = outcome_of(key, kept)
            progress.reach(outcome)
            if kept.final:
                return outcome
        known, before = await stored(store.scored, scores_key, key)
        request = ExplainRequest(
            await stored(store.upload, upload),
            spec.network,
            ExplainParameters(**dict(spec.settings), target=spec.target),
            levels=True,
            for_job=True,
            known=known,
            weights_sha256=store.weights_sha256,
            adjust_prior=store.adjust_prior,
        )
        level = -1 if kept is None else kept.explanation.tree.depth
        async with contextlib.aclosing(self._answers(request)) as answers:
            async for answer in answers:
                if answer.explanation.tree.depth <= level and not answer.final:
                    continue  # it is kept
                spent = Spent(before.rows + answer.spent.rows, before.macs + answer.spent.macs)
                found = replace(answer, spent=spent)
                await stored(store.keep_scored, scores_key, key, found.scored, spent)
                await stored(store.keep_answer, key, found)
                outcome = outcome_of(key, found)
                progress.reach(outcome)
                if found.final:
                    return outcome
        raise RefusedError(BUSY, LOST, "the explainer gave no last answer", 1.0)

    async def _answers(self, request: ExplainRequest) -> AsyncGenerator[Answer, None]:
        """The answers of an explainer.

        Raises:
            RefusedError: also when the call is cancelled by others than whoever waits here.
        """
        try:
            async with contextlib.aclosing(self.explainers.answers(request)) as answers:
                async for answer in answers:
                    if isinstance(answer, Predicted):
                        raise TypeError("an explanation was answered by its cost")
                    yield answer
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RefusedError(BUSY, LOST, "the explainer's call was cancelled", 1.0) from error


@dataclass
class Progress:
    """How far the explanation of an image has come.

    Args:
        notify: told of every level.
        losses: how often it has ended midway since the last level.
    """

    notify: Notify
    losses: int = 0
    _reached: Outcome = NOT_BEGUN

    def reach(self, outcome: Outcome) -> None:
        """A level is finished, and kept."""
        if outcome != self._reached:
            self.losses = 0
        self._reached = outcome
        self.notify(outcome)

    def failed(self, refused: RefusedError) -> Outcome:
        """What to tell of an image that is given up."""
        return Outcome(state="failed", rows=self._reached.rows, refusal=Refusal.of(refused))


async def stored(operation: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """What a storage does, tried again while it fails.

    Raises:
        StorageError: when it fails for long.
    """
    give_up, wait_s = time.monotonic() + STORAGE_S, 1.0
    while True:
        try:
            return await asyncio.to_thread(operation, *arguments)
        except StorageError as error:
            if time.monotonic() > give_up:
                raise
            logger.warning("the storage of jobs is tried again in %.0f s: %s", wait_s, error)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, MOST_WAIT_S)


def outcome_of(key: str, answer: Answer) -> Outcome:
    """How far an explanation is."""
    return Outcome(
        state="finished" if answer.final else "running",
        key=key,
        level=answer.explanation.tree.depth,
        rows=answer.spent.rows,
    )
