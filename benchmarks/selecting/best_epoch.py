"""A context that keeps the checkpoint of the best epoch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ier_ray.training.context import LocalContext


class BestEpoch(LocalContext):
    """Keeps the checkpoint of the best score in ``directory/best``.

    Of equal scores it keeps the latest, as a run on a cluster does.
    """

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        super().report(metrics, directory)
        if directory is not None and metrics["score"] >= max(r["score"] for r in self.history):
            shutil.rmtree(self.directory / "best", ignore_errors=True)
            leave_out = shutil.ignore_patterns("trainer_state*")
            shutil.copytree(directory, self.directory / "best", ignore=leave_out)
