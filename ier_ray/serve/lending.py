"""Spreading one explanation over replicas that have nothing to do.

The replica that explains an image scores its masked images from the front. Others are asked to
score some from the back, half a second of work at a time, as long as they are idle. Nothing waits
for them but the end of a level, and what they do not score is scored by the replica itself.
"""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ray import serve

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.explain.masking import MaskedImages
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.serve.request_logs import in_own_call

logger = logging.getLogger(__name__)

OVERDUE_S = 10.0
"""Seconds after which the rows that somebody was asked for are scored by the replica itself."""
SLOTS = 32
"""Keys by which the router finds replicas: requests of one key go to one replica."""
ATTEMPTS = 6
"""Replicas that are asked before the replica does the work itself."""

Repay = Callable[[NDArray[np.float64] | None], None]


@dataclass(frozen=True)
class ScoreRequest:
    """Masked images of an image, to be scored for another replica."""

    pixels: Pixels
    """``(S, S, 3)``."""
    settings: ExplainerSettings
    domain: Domain
    """Of the network."""
    masking: MaskedImages
    weights_sha256: str
    """Of the replica that asks: scores of other weights are never mixed."""
    adjust_prior: bool
    """As of :class:`ier_ray.serve.answers.ExplainRequest`."""
    asked_by: str
    """Its id: the router may choose the replica itself."""


class Lender:
    """Asks idle replicas to score masked images of one image.

    To be made in the replica's event loop, in the context of the request that it asks for.
    """

    def __init__(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        domain: Domain,
        *,
        weights_sha256: str,
        adjust_prior: bool,
        asked_by: str,
    ) -> None:
        self._pixels, self._settings, self._domain = pixels, settings, domain
        self._weights_sha256, self._adjust_prior = weights_sha256, adjust_prior
        self._asked_by = asked_by
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._slots = deque(range(SLOTS))
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, masking: MaskedImages, repay: Repay) -> None:
        """Ask for the logits of masked images; ``repay`` gets them, or None. From any thread."""
        self._loop.call_soon_threadsafe(self._start, masking, repay)

    def _start(self, masking: MaskedImages, repay: Repay) -> None:
        task = self._loop.create_task(self._ask(masking, repay), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, masking: MaskedImages, repay: Repay) -> None:
        request = ScoreRequest(
            self._pixels,
            self._settings,
            self._domain,
            masking,
            self._weights_sha256,
            self._adjust_prior,
            self._asked_by,
        )
        for _ in range(ATTEMPTS):
            slot = self._slots.popleft()
            logits = await self._answer(request, slot)
            if logits is not None:  # the next rows go to the same replica, which has the image
                self._slots.appendleft(slot)
                break
            self._slots.append(slot)
        await asyncio.to_thread(repay, logits)

    async def _answer(self, request: ScoreRequest, slot: int) -> NDArray[np.float64] | None:
        """Logits by the replica that a slot leads to; None if it does not help."""
        handle = serve.get_deployment_handle("Explainer", serve.get_replica_context().app_name)
        helper = handle.options(session_id=f"{self._asked_by}-{slot}")
        response = in_own_call(lambda: helper.score.remote(request))
        try:
            async with asyncio.timeout(OVERDUE_S):
                logits: NDArray[np.float64] | None = await response
        except Exception as error:  # noqa: BLE001 (whatever it was, the replica scores them itself)
            logger.info("another replica did not help: %s", error)
            response.cancel()
            return None
        return logits
