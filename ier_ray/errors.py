"""Errors for the user. Each message names the field, the value and how to fix it."""

from __future__ import annotations


class IerRayError(Exception):
    """Base class of all errors that the user or the environment can fix."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        """The message as it was raised: Ray Data appends advice to the arguments of errors."""
        return self.message


class SettingsError(IerRayError):
    """A setting is unknown, malformed or out of range."""


class StorageError(IerRayError):
    """A path or URI is missing, unreadable or not writable."""


class ImageError(IerRayError):
    """The bytes are not a usable image. ``reason`` is a stable word to count errors by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        """For the way from one process to another."""
        return ImageError, (self.reason, self.message)


class DataError(IerRayError):
    """Shards are missing, incomplete, or do not fit the request."""


class CheckpointError(IerRayError):
    """A checkpoint is missing, damaged, or of another version, scheme or shape."""


class NetworkError(IerRayError):
    """A network cannot be explained as it is: its mode, its output, or what that depends on."""


class CapacityError(IerRayError):
    """The request needs more resources than the cluster can ever provide."""


class ClusterError(IerRayError):
    """The Ray cluster does not answer, or it lost a process or an object that the job needs."""


class ServiceError(IerRayError):
    """The service cannot be started (its port is in use), or cannot be used."""


class TrainingError(IerRayError):
    """Training cannot continue (a loss that is not finite, a failure that retries do not cure)."""


class DeviceMemoryError(TrainingError):
    """The device of one worker ran out of memory; other workers may be waiting for it."""


class LostWorkersError(TrainingError):
    """Training workers were lost more often than they are restarted; it can be resumed."""


class ExperimentError(IerRayError):
    """Cells of an experiment failed; the others are finished and kept."""


class CancelledError(IerRayError):
    """An explanation was canceled."""


class DeadlineError(IerRayError):
    """Nothing was finished by the deadline."""
