"""The files that a computation of layers leaves: figures, a table and a page."""

from __future__ import annotations

from ier_ray import storage
from ier_ray.layerwise.page import render_page
from ier_ray.layerwise.record import Layerwise

RANDOM = "randomly initialized"
"""What the network that was not trained is called."""
RECORD = "layerwise.json"


def write_layerwise(result: Layerwise, output: str, *, title: str) -> dict[str, str]:
    """Write ``layerwise.json``, ``.parquet`` and ``.html`` below a directory; their locations."""
    files = {"json": storage.join(output, RECORD)}
    files |= {kind: storage.join(output, f"layerwise.{kind}") for kind in ("parquet", "html")}
    storage.write_json(files["json"], result.as_json())
    result.write_parquet(files["parquet"])
    storage.write_bytes(files["html"], render_page(result, title=title).encode())
    return files
