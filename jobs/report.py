"""One page about a finished run or cross-validation, or about several and how they differ."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field

from ier_ray import storage
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Locations, Settings
from ier_ray.report.page import render_report


class ReportSettings(Settings):
    """Which runs, and where the page goes. No cluster is needed."""

    runs: Locations = Field(min_length=1)
    """Directories or s3:// URIs of finished runs: what train.py prints as run, or crossvalidate.py
    as location. Several are compared on the test images that they have in common."""
    explanations: Locations = Field(default_factory=list)
    """Directories of explain.py's output, of the last run; those in a run's own directory whose
    names begin with explanations are found without this. Maps of one image are put side by side."""
    title: str = Field("", max_length=200)
    """Title of the page; by default the names of the runs."""
    output: Location | None = None
    """File of the page; by default report.html in the last run's directory."""


def main(settings: ReportSettings) -> dict[str, Any]:
    places = [storage.absolute(location) for location in settings.runs]
    output = storage.absolute(settings.output or storage.join(places[-1], "report.html"))
    title = settings.title or " and ".join(place.rpartition("/")[2] for place in places)
    storage.check_writable(output)
    page = render_report(places, title=title, explanations=settings.explanations).encode()
    storage.write_bytes(output, page)
    return {"report": output, "bytes": len(page)}


if __name__ == "__main__":
    sys.exit(run_job(ReportSettings, main, program="report", purpose=__doc__ or ""))
