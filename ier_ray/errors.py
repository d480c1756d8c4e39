"""The exceptions a user meets. Each message names the field, the value and the cure."""

from __future__ import annotations


class IerRayError(Exception):
    """Base of every error that is the input's fault, not the program's."""


class SettingsError(IerRayError):
    """A setting is unknown, malformed or out of range."""


class StorageError(IerRayError):
    """A path or URI is missing, unreadable or not writable."""


class ImageError(IerRayError):
    """Bytes that are not a usable image. ``reason`` is a short stable word for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class DataError(IerRayError):
    """Shards are missing, incomplete, or do not fit the request."""


class CheckpointError(IerRayError):
    """A checkpoint is missing, damaged, or of another version, scheme or shape."""


class CapacityError(IerRayError):
    """The cluster can never fit what was asked of it."""


class TrainingError(IerRayError):
    """Training cannot go on (a loss that is not finite, a failure that retries do not cure)."""


class DeviceMemoryError(TrainingError):
    """One worker's device is out of memory. The other workers may not know."""


class CancelledError(IerRayError):
    """An explanation was no longer wanted."""
