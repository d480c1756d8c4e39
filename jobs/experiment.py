"""Run one of the paper's tables, or the ablation, on the cluster: experiment.py NAME [--SETTING
VALUE ...]. Finished cells are never run again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from ier_ray.cluster.job import run_job
from ier_ray.experiments.experiment import run_experiment
from ier_ray.experiments.settings import ExperimentSettings


def main(settings: ExperimentSettings) -> dict[str, Any]:
    result = run_experiment(settings)
    result.require_all()
    return asdict(result)


def arguments(words: list[str]) -> list[str]:
    """The command line with its first word, where it is no flag, as ``--experiment``."""
    if words and not words[0].startswith("-") and "--experiment" not in words:
        return ["--experiment", *words]
    return words


if __name__ == "__main__":
    sys.exit(
        run_job(
            ExperimentSettings,
            main,
            program="experiment",
            purpose=__doc__ or "",
            arguments=arguments(sys.argv[1:]),
        )
    )
