"""What can go wrong with a request to the service."""

from __future__ import annotations

from ier_ray.errors import ServiceError


class ProblemError(ServiceError):
    """The service has refused a request, or failed with it.

    Attributes:
        status: of HTTP.
        error: a word that does not change, such as ``bad_parameter``.
        detail: what was wrong, and what to do.
        retry_after_s: after how many seconds to try again, if the service says so.
    """

    def __init__(
        self, status: int, error: str, detail: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"the service replied {status} ({error}): {detail}")
        self.status, self.error, self.detail = status, error, detail
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[ProblemError], tuple[int, str, str, float | None]]:
        """For the way from one process to another."""
        return ProblemError, (self.status, self.error, self.detail, self.retry_after_s)


class UnreachableError(ServiceError):
    """There was no connection, or it ended before the reply began."""


class OverdueError(ServiceError):
    """The reply has not come in time."""


class BrokenReplyError(ServiceError):
    """The reply ended too early, or is not what this version of the client can read."""


class InterruptedReplyError(BrokenReplyError):
    """The connection ended in the middle of the reply."""
