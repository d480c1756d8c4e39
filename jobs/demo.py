"""Run the demo: data, joint training, evaluation, explanations and a report."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from ier_ray.cluster.job import run_job
from ier_ray.experiments.demo import DemoSettings, run_demo


def main(settings: DemoSettings) -> dict[str, Any]:
    return asdict(run_demo(settings))


if __name__ == "__main__":
    sys.exit(run_job(DemoSettings, main, program="demo", purpose=__doc__ or ""))
