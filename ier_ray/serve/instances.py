"""Several images in one JSON body, as KServe's protocol V1 has them."""

import base64
import binascii
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from ier_ray.serve.errors import UNPROCESSABLE, RefusedError, complaint, too_large
from ier_ray.serve.schemas import DryRunParameters, ExplainParameters

FORBIDDEN = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class EncodedImage(BaseModel):
    """An image file."""

    model_config = FORBIDDEN

    b64: str = Field(json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"})
    """The bytes of the file in base64."""


class NamedImage(BaseModel):
    """An image file as the value of the name ``image``."""

    model_config = FORBIDDEN

    image: EncodedImage


def form_of(instance: Any) -> str:
    """Which of the two forms an instance has."""
    named = isinstance(instance, NamedImage) or (isinstance(instance, dict) and "image" in instance)
    return "image" if named else "b64"


Instance = Annotated[
    Annotated[NamedImage, Tag("image")] | Annotated[EncodedImage, Tag("b64")],
    Discriminator(form_of),
]


class PredictInstances(BaseModel):
    """Images to predict."""

    model_config = FORBIDDEN

    instances: list[Instance] = Field(min_length=1)


class ExplainInstances(PredictInstances):
    """Images to explain, all with the same parameters."""

    parameters: DryRunParameters = DryRunParameters()
    """In place of the query's."""


class JobInstances(PredictInstances):
    """Images to explain as a job, all with the same parameters."""

    parameters: ExplainParameters = ExplainParameters()
    """In place of the query's."""


InstancesT = TypeVar("InstancesT", bound=PredictInstances)


def parsed(body: bytes, form: type[InstancesT], *, most: int) -> InstancesT:
    """A body as what its route takes.

    Args:
        most: largest number of instances.

    Raises:
        RefusedError: with status 400 when it is not JSON, 422 when it is something else.
    """
    try:
        found = form.model_validate_json(body, strict=True)
    except ValidationError as error:
        problems = error.errors()
        if problems[0]["type"] == "json_invalid":
            detail = f"the body is not JSON: {problems[0]['ctx']['error']}"
            raise RefusedError(400, "bad_json", detail) from error
        lines = "; ".join(complaint(dict(problem)) for problem in problems[:8])
        raise RefusedError(UNPROCESSABLE, "bad_instances", lines) from error
    if len(found.instances) > most:
        raise RefusedError(
            UNPROCESSABLE,
            "bad_instances",
            f"instances: at most {most} images in one request, got {len(found.instances)}",
        )
    return found


def decoded(instance: EncodedImage | NamedImage, *, max_bytes: int) -> bytes | RefusedError:
    """The bytes of an instance's image, or why there are none."""
    text = instance.image.b64 if isinstance(instance, NamedImage) else instance.b64
    if len(text) > 4 * (max_bytes // 3 + 1):
        return too_large(max_bytes)
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        return RefusedError(400, "bad_base64", f"b64: not base64: {error}")
    return too_large(max_bytes) if len(found) > max_bytes else found
