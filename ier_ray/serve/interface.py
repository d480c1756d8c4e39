"""What the interface's document says of bodies and errors of several routes."""

from __future__ import annotations

from typing import Any

from ier_ray.serve.errors import PROBLEM
from ier_ray.serve.replies import EVENTS, JSON, NPZ, PNG
from ier_ray.serve.uploads import FORM, FORM_FIELD

Described = dict[str, Any]

IMAGE: Described = {"type": "string", "contentMediaType": "image/*", "format": "binary"}
REASONS = {
    400: "There is no image, or the body cannot be read.",
    404: "There is no such route, or the checkpoint holds no such network.",
    405: "The route has no such method; Allow names those that it has.",
    406: "None of the media types of Accept is one that the route has.",
    408: "The request took longer than the service allows.",
    409: "No level of the explanation is finished yet, or the image could not be explained.",
    413: "The upload has too many bytes or pixels.",
    415: "The bytes are not an image that can be read.",
    422: "A parameter cannot be used, or the explanation would take too long.",
    500: "The service failed; its log says why.",
    503: "The service is busy, or an explainer was lost; Retry-After says when to try again.",
    504: "Nothing was finished by the deadline.",
}
ALWAYS = (404, 405, 408, 500, 503)


def errors(*statuses: int) -> dict[int | str, Described]:
    """The declared errors of a route, beside those that every route has."""
    return {
        status: {
            "description": REASONS[status],
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": RETRY_AFTER} if status in (503, 504) else {}),
        }
        for status in sorted({*ALWAYS, *statuses})
    }


RETRY_AFTER: Described = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


def upload(instances: str, *, several_files: bool) -> Described:
    """The body of a route that takes images.

    Args:
        instances: name of the JSON's schema.
        several_files: whether a form may have several images.
    """
    files: Described = IMAGE
    if several_files:
        files = {"type": "array", "minItems": 1, "items": IMAGE}
    form = {
        "type": "object",
        "properties": {FORM_FIELD: files},
        "required": [FORM_FIELD],
    }
    return {
        "requestBody": {
            "required": True,
            "description": "The bytes of an image file, a form, or KServe's JSON.",
            "content": {
                "image/*": {"schema": IMAGE},
                FORM: {"schema": form},
                JSON: {"schema": {"$ref": f"#/components/schemas/{instances}"}},
            },
        }
    }


EXPLAINED: Described = {
    PNG: {"schema": IMAGE},
    NPZ: {"schema": {"type": "string", "format": "binary"}},
    EVENTS: {"schema": {"type": "string"}},
}
"""What an explanation may be beside JSON."""
JOB_RESULT: Described = {media: EXPLAINED[media] for media in (PNG, NPZ)}
"""The same, of a job."""
EXPLAINED_HEADERS: Described = {
    "Explanation-Complete": {
        "description": "As `complete` of the JSON, in replies that are not JSON.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "Weights-SHA256": {
        "description": "As `weights_sha256` of the JSON, in replies that are not JSON.",
        "schema": {"type": "string"},
    },
}
