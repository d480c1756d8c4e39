"""What schemathesis finds in an interface: every reply that its own document does not declare."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from starlette.types import ASGIApp

from ier_ray.data.images import encode_png
from ier_ray.data.synthetic import draw_scene

DOCUMENT = "/openapi.json"
ALLOWED = ["2xx", "404", "409", "415", "422"]
"""Replies to requests that the document allows. No schema of single parameters says which of them
go together (422), nor one of bytes which are pictures (415); 404 is the tool's own default, and 409
says that there is nothing yet."""


def use_images() -> None:
    """Bodies of images are pictures, not random bytes."""
    pictures = [encode_png(draw_scene("anger", size=48, seed=seed).image) for seed in range(3)]
    schemathesis.openapi.media_type("image/*", strategies.sampled_from(pictures))


def config(examples: int) -> SchemathesisConfig:
    """Of a run with so many random requests to each operation, and those of boundary values."""
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "suppress-health-check": ["all"],  # they tell of a slow machine
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            # The document has links; guessed ones take a path's verb for a part of a name.
            "phases": {"stateful": {"inference": {"algorithms": []}}},
            "checks": {"positive_data_acceptance": {"expected-statuses": ALLOWED}},
        }
    )


def of_application(application: ASGIApp, *, examples: int) -> tuple[list[str], int]:
    """What is found in an application of this process, and the number of its replies."""
    use_images()
    schema = schemathesis.openapi.from_asgi(DOCUMENT, application, config=config(examples))
    return found_in(schema)


def of_service(url: str, *, examples: int) -> tuple[list[str], int]:
    """What is found in a running service, and the number of its replies."""
    use_images()
    schema = schemathesis.openapi.from_url(f"{url}{DOCUMENT}", config=config(examples))
    return found_in(schema)


def found_in(schema: Any) -> tuple[list[str], int]:
    """Violations in words, and the number of replies that were examined."""
    found, replies = dict[str, None](), 0
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            error = event.value if isinstance(event, events.NonFatalError) else event.exception
            found[str(error)] = None
        if isinstance(event, events.ScenarioFinished):
            replies += len(event.recorder.interactions)
            found |= dict.fromkeys(failures(event.recorder))
    return list(found), replies


def failures(recorder: ScenarioRecorder) -> list[str]:
    """Failed checks of some requests, each with what reproduces it."""
    return [
        f"{recorder.label}: {check.failure_info.failure.title}: "
        f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
        for checks in recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]
