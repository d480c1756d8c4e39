"""Libraries that only some uses need, each behind an extra of the package."""

from __future__ import annotations

import importlib
from typing import Any

from ier_ray.errors import SettingsError


def optional_library(name: str, *, extra: str, use: str) -> Any:
    """A library, imported now.

    Args:
        use: what needs it, with its verb: the beginning of the error.

    Raises:
        SettingsError: when it is not installed, naming the extra that has it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(
            f"{use} the {name} library ({error}); install it with: pip install 'ier_ray[{extra}]'"
        ) from error
