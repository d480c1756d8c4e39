"""Jobs, for programs that wait for replies."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from ier_ray.client import calls, job_calls
from ier_ray.client.calls import Call
from ier_ray.client.images import Image, bytes_of, several, single
from ier_ray.client.job_calls import PATIENCE_S, Watch
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import Arrays, Explanation, Job, Network
from ier_ray.errors import ServiceError

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")


class JobMethods(ABC):
    """Explanations that go on without the client, and when the service is started again."""

    @abstractmethod
    def _result(self, call: Call[Result]) -> Result:
        """The result of a request."""

    def submit(
        self,
        images: Image | Sequence[Image],
        *,
        network: Network = "ier",
        key: str | None = None,
        **parameters: Unpack[Parameters],
    ) -> Job:
        """Begin to explain one image or several; images that cannot be used fail alone.

        Args:
            key: the same key is the same job, however often it is submitted; by default a new one.
        """
        many = several(images)
        each = [bytes_of(image) for image in ([single(images)] if many is None else many)]
        return self._result(job_calls.submit(each, network, key, parameters))

    def job(self, job: str) -> Job:
        """How far a job is, by its id."""
        return self._result(job_calls.job(job))

    def jobs(self, limit: int = 20) -> tuple[Job, ...]:
        """The newest jobs of this token, the newest first."""
        return self._result(job_calls.jobs(limit))

    def cancel(self, job: str) -> Job:
        """Stop a job; what is finished of it can still be read."""
        return self._result(job_calls.cancel(job))

    def delete(self, job: str) -> None:
        """Stop a job, and let the service forget it with its images and explanations."""
        self._result(job_calls.delete(job))

    def watch(self, job: str, *, patience: float = PATIENCE_S) -> Generator[Job, None, None]:
        """A job as it is now, then each time when it has changed, until it has ended.

        Args:
            patience: seconds for which the service may be away meanwhile.
        """
        watch = Watch(patience)
        while True:
            try:
                found = self.job(job)
            except ServiceError as failure:
                watch.failed(failure)
            else:
                if watch.is_news(found):
                    yield found
                if found.ended is not None:
                    return
            time.sleep(watch.pause_s)

    def explanation(self, job: str, place: int = 0) -> Explanation:
        """What is finished of the explanation of an image of a job; ``complete`` says if it all is.

        Args:
            place: of the image in the job, from 0.
        """
        return self._result(job_calls.explanation(job, place))

    def explanation_heat_map(self, job: str, place: int = 0) -> bytes:
        """The same as heat map: the bytes of a PNG file."""
        return self._result(job_calls.heat_map(job, place))

    def explanation_arrays(self, job: str, place: int = 0) -> Arrays:
        """The same as the bytes of an npz file."""
        return self._result(job_calls.arrays(job, place))

    def explanation_credits(self, job: str, place: int = 0) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of that file by their names."""
        return calls.loaded(self.explanation_arrays(job, place))
