"""Optional dependencies, each installed by an extra of the package."""

from __future__ import annotations

import importlib
from typing import Any

from ier_ray.errors import SettingsError


def optional_library(name: str, *, extra: str, use: str) -> Any:
    """Import an optional library.

    Args:
        use: the beginning of the error message, with a verb: what needs the library.

    Raises:
        SettingsError: when it cannot be imported, naming the extra that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(
            f"{use} the {name} library ({error}); install it with: pip install 'ier_ray[{extra}]'"
        ) from error
