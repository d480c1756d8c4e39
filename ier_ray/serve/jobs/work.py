"""Explaining one image of a job, so that no finished level is computed twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from ier_ray.explain.engine import Spent
from ier_ray.serve.answers import Answer, Explainers, ExplainRequest, Predicted
from ier_ray.serve.errors import BUSY, RefusedError
from ier_ray.serve.jobs.records import JobSpec, Outcome, Refusal
from ier_ray.serve.jobs.store import JobStore
from ier_ray.serve.schemas import ExplainParameters

logger = logging.getLogger(__name__)

LOST = "explainer_lost"
MOST_LOSSES = 5
"""Explainers that may die while they explain an image before it is to blame."""
MOST_WAIT_S = 30.0
"""Most seconds before a busy service is asked again."""

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

        Raises:
            StorageError: when the store cannot be used.
        """
        key, losses = self.store.key(spec, upload), 0
        while True:
            kept = await asyncio.to_thread(self.store.answer, key)
            if kept is not None:
                outcome = outcome_of(key, kept)
                notify(outcome)
                if kept.final:
                    return outcome
            try:
                return await self._attempt(spec, upload, key, kept, notify)
            except RefusedError as refused:
                losses += refused.error == LOST
                if refused.status != BUSY or losses > MOST_LOSSES:
                    rows = 0 if kept is None else kept.spent.rows
                    return Outcome(state="failed", rows=rows, refusal=Refusal.of(refused))
                logger.info("an image of a job waits: %s", refused.detail)
                await asyncio.sleep(min(refused.retry_after_s or 1.0, MOST_WAIT_S))

    async def _attempt(
        self, spec: JobSpec, upload: str, key: str, kept: Answer | None, notify: Notify
    ) -> Outcome:
        """Go on to the end.

        Raises:
            RefusedError: when the explainers refuse it, or die.
        """
        store, scores_key = self.store, self.store.scores_key(spec, upload)
        before = Spent() if kept is None else kept.spent
        request = ExplainRequest(
            await asyncio.to_thread(store.upload, upload),
            spec.network,
            ExplainParameters(**dict(spec.settings), target=spec.target),
            levels=True,
            for_job=True,
            known=await asyncio.to_thread(store.scored, scores_key),
            weights_sha256=store.weights_sha256,
        )
        async with contextlib.aclosing(self.explainers.answers(request)) as answers:
            async for answer in answers:
                if isinstance(answer, Predicted):
                    raise TypeError("an explanation was answered by its cost")
                spent = Spent(before.rows + answer.spent.rows, before.macs + answer.spent.macs)
                found = replace(answer, spent=spent)
                await asyncio.to_thread(self._keep, key, scores_key, found)
                outcome = outcome_of(key, found)
                notify(outcome)
                if found.final:
                    return outcome
        raise RefusedError(BUSY, LOST, "the explainer gave no last answer", 1.0)

    def _keep(self, key: str, scores_key: str, answer: Answer) -> None:
        for scored in answer.scored:
            self.store.keep_scored(scores_key, scored)
        self.store.keep_answer(key, answer)


def outcome_of(key: str, answer: Answer) -> Outcome:
    """How far an explanation is."""
    return Outcome(
        state="finished" if answer.final else "running",
        key=key,
        level=answer.explanation.tree.depth,
        rows=answer.spent.rows,
    )
