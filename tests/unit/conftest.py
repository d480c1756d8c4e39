"""Unit tests need no Ray: importing it here fails, in every process that pytest starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class NoRay(MetaPathFinder):
    """Finds nothing, and refuses to look for Ray."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "ray":
            raise RuntimeError(f"a unit test imports {name}: it belongs to tests/integration")
        return None


sys.meta_path.insert(0, NoRay())
