"""The guard of this room, in this process and in those of pytest-xdist."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "module", ["ray", "ray.data", "ier_ray.cluster.connection", "ier_ray.serve.app"]
)
def test_ray_cannot_be_imported_here(module: str) -> None:
    with pytest.raises(
        RuntimeError, match=r"a unit test imports ray\S*: it belongs to tests/integ"
    ):
        import_module(module)
    assert "ray" not in sys.modules
