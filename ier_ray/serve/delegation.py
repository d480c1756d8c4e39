"""Explanations by the replicas of the other deployment."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from ier_ray.serve.access import charge
from ier_ray.serve.answers import Admitted, Answer, ExplainRequest, Predicted
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.request_logs import in_own_call

ACCEPTED_WITHIN_S = 10.0
"""Seconds within which an explainer must take a request; without one the call would wait on."""


class ExplainerReplicas:
    """Hands requests to explainers, as many at a time as an ingress replica may wait for.

    Args:
        explainer: handle of the deployment.
        most: requests at a time.
    """

    def __init__(self, explainer: DeploymentHandle, *, most: int) -> None:
        self._explainer, self._most = explainer.options(stream=True), most
        self._open = 0

    async def answers(self, request: ExplainRequest) -> AsyncGenerator[Answer | Predicted, None]:
        """Answers of an explainer, which stops computing when they are not taken any longer.

        Raises:
            RefusedError: when the request is not served.
        """
        if self._open >= self._most:
            raise RefusedError.busy(f"{self._open} explanations are computed already")
        self._open += 1
        image = hashlib.blake2b(request.encoded or b"", digest_size=16).hexdigest()
        # Requests of one image go to one replica, which has its activations and scores.
        explainer = self._explainer.options(session_id=image)
        stream = in_own_call(lambda: explainer.explain.remote(request))
        try:
            # Python 3.11's wait_for may lose a cancellation that comes together with the answer.
            async with asyncio.timeout(ACCEPTED_WITHIN_S):
                await anext(stream)
            async for answer in stream:
                if isinstance(answer, RefusedError):
                    raise answer
                if isinstance(answer, Admitted):
                    await charge(answer.seconds)
                else:
                    yield answer
        except (TimeoutError, BackPressureError) as error:
            raise RefusedError.busy("no explainer takes another request") from error
        except RayError as error:
            raise RefusedError(503, "explainer_lost", "the explainer has died", 1.0) from error
        finally:
            self._open -= 1
            stream.cancel()
