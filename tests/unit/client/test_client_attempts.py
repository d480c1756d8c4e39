"""When a request is sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ier_ray.client.attempts import FIRST_WAIT_S, MOST_WAIT_S, Attempts, retry_after_s
from ier_ray.client.errors import BrokenReplyError, OverdueError, ProblemError, UnreachableError
from ier_ray.errors import ServiceError


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(clock: Clock, *, most: int = 3, timeout_s: float = 1000, at: float = 1.0) -> Attempts:
    return Attempts(most, timeout_s, fraction=lambda: at, clock=clock)


def test_waits_double_and_end_after_the_repetitions() -> None:
    tried = attempts(Clock(), most=4)
    failure = UnreachableError("gone")
    waits = [tried.wait_s(failure) for _ in range(4)]
    assert waits == [FIRST_WAIT_S * factor for factor in (1, 2, 4, 8)]
    with pytest.raises(UnreachableError, match="gone"):
        tried.wait_s(failure)


def test_waits_are_random() -> None:
    assert attempts(Clock(), at=0.25).wait_s(UnreachableError("gone")) == FIRST_WAIT_S / 4


def test_the_service_says_how_long_up_to_a_bound() -> None:
    tried = attempts(Clock(), at=0.0)
    assert tried.wait_s(ProblemError(503, "busy", "wait", 7)) == 7
    assert tried.wait_s(ProblemError(429, "rate_limited", "wait", 3600)) == MOST_WAIT_S
    assert attempts(Clock(), at=1.0).wait_s(ProblemError(503, "busy", "wait", 10)) == 11


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 500, 502, 504])
def test_other_replies_last(status: int) -> None:
    with pytest.raises(ProblemError):
        attempts(Clock()).wait_s(ProblemError(status, "word", "detail", 1))


@pytest.mark.parametrize(
    "failure", [BrokenReplyError("cut"), OverdueError("late"), ServiceError("odd")]
)
def test_what_may_have_begun_is_not_repeated(failure: ServiceError) -> None:
    with pytest.raises(type(failure)):
        attempts(Clock()).wait_s(failure)


def test_no_wait_goes_beyond_the_deadline() -> None:
    clock = Clock()
    tried = attempts(clock, timeout_s=10, at=0.0)
    assert tried.wait_s(ProblemError(503, "busy", "wait", 6)) == 6
    clock.now += 6
    assert tried.left_s() == 4
    with pytest.raises(ProblemError, match="503"):
        tried.wait_s(ProblemError(503, "busy", "wait", 4))
    clock.now += 4
    with pytest.raises(OverdueError, match="within 10 s"):
        tried.left_s()


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("12") == 12
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    assert retry_after_s("-3") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert retry_after_s(later) == pytest.approx(100, abs=10)
    assert retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT") == 0
