"""When a request is sent again, and until when."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ier_ray.client.errors import OverdueError, ProblemError, UnreachableError
from ier_ray.errors import ServiceError

AGAIN = frozenset({429, 503})
"""Replies that say that the same request may be served later."""
FIRST_WAIT_S = 0.5
"""Longest wait before the first repetition, where the service does not say how long; it doubles."""
MOST_WAIT_S = 30.0
"""Longest wait before any repetition, whatever the service says."""


class Attempts:
    """The attempts of one call.

    Args:
        most: repetitions at most.
        timeout_s: seconds from now within which the reply must have come.
        fraction: random numbers in [0, 1) by which waits differ, so that clients which were refused
            together do not come back together.
        clock: seconds.
    """

    def __init__(
        self,
        most: int,
        timeout_s: float,
        *,
        fraction: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._timeout_s = most, timeout_s
        self._fraction, self._clock = fraction, clock
        self._deadline = clock() + timeout_s
        self._repeated = 0

    def left_s(self) -> float:
        """Seconds until the deadline.

        Raises:
            OverdueError: when it has passed.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise OverdueError(
                f"the service has not replied within {self._timeout_s:g} s: give a longer timeout, "
                f"or explain with less depth"
            )
        return left

    def wait_s(self, failure: ServiceError) -> float:
        """Seconds to wait before the request is sent again.

        Raises:
            ServiceError: the failure itself, when it lasts, was met too often, or the wait would
                end after the deadline.
        """
        if not may_pass(failure) or self._repeated >= self._most:
            raise failure
        asked = failure.retry_after_s if isinstance(failure, ProblemError) else None
        if asked is None:
            wait = self._fraction() * FIRST_WAIT_S * 2**self._repeated
        else:
            wait = asked * (1 + self._fraction() / 10)
        wait = min(float(wait), MOST_WAIT_S)
        if self._clock() + wait >= self._deadline:
            raise failure
        self._repeated += 1
        return wait


def may_pass(failure: ServiceError) -> bool:
    """Whether the same request may be served later."""
    if isinstance(failure, ProblemError):
        return failure.status in AGAIN
    return isinstance(failure, UnreachableError)


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header: a number or a date; None for what is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())
