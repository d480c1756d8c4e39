"""The OpenAPI document of a running service, with its networks, classes and limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from ier_ray.serve.access import OPEN_PATHS
from ier_ray.serve.errors import PROBLEM, Problem
from ier_ray.serve.instances import ExplainInstances, JobInstances, PredictInstances
from ier_ray.serve.jobs.records import JOBS
from ier_ray.serve.service import Service
from ier_ray.serve.uploads import FORM, FORM_FIELD, JSON

Json = dict[str, Any]

UNDOCUMENTED = ("HTTPValidationError", "ValidationError")
"""FastAPI's schemas of an error that this service replies differently to."""
REFERENCES = "#/components/schemas/{model}"
SUMMARY = "Predictions of image emotions, and their explanations by DnCShap."
DESCRIPTION = (
    "Every error is described as RFC 9457 says; its `error` is a word that does not change."
)


def document(generated: Json, service: Service) -> Json:
    """FastAPI's document, with what it does not know."""
    generated["info"] |= {"summary": SUMMARY, "description": DESCRIPTION}
    schemas = generated.setdefault("components", {}).setdefault("schemas", {})
    for name in UNDOCUMENTED:
        schemas.pop(name, None)
    schemas.update(bodies(service))
    if service.args.jobs is None:
        for path in [each for each in generated["paths"] if each.startswith(JOBS)]:
            del generated["paths"][path]
    for methods in generated["paths"].values():
        methods.pop("head", None)  # as GET, without a body
    for operation in operations(generated):
        responses = operation["responses"]
        unlike = [status for status, each in responses.items() if refers_to(each, UNDOCUMENTED)]
        for status in unlike:
            del responses[status]
        content = operation.get("requestBody", {}).get("content", {})
        files = content.get(FORM, {}).get("schema", {}).get("properties", {}).get(FORM_FIELD, {})
        if files.get("type") == "array":
            model = content[JSON]["schema"]["$ref"].rpartition("/")[2]
            files["maxItems"] = schemas[model]["properties"]["instances"]["maxItems"]
        for parameter in operation.get("parameters", []):
            without_null(parameter["schema"])
            limit(parameter["name"], parameter["schema"], service)
    if service.args.tokens is not None:
        want_tokens(generated)
    return generated


def want_tokens(generated: Json) -> None:
    """Say where a token is wanted, and what comes without one."""
    generated["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    generated["security"] = [{"token": []}]
    problem = {"content": {PROBLEM: {"schema": {"$ref": REFERENCES.format(model="Problem")}}}}
    refused = {
        "401": {"description": "The token is missing or unknown", **problem},
        "429": {"description": "Beyond the token's limit", **problem},
    }
    for path, methods in generated["paths"].items():
        for operation in methods.values():
            if path in OPEN_PATHS:
                operation["security"] = []
            else:
                operation["responses"] |= refused


def operations(generated: Json) -> Iterator[Json]:
    """Every method of every path."""
    for methods in generated["paths"].values():
        yield from methods.values()


def bodies(service: Service) -> Json:
    """Schemas of the bodies that routes read themselves, and of problems."""
    most = {
        PredictInstances: service.args.max_instances,
        ExplainInstances: service.args.max_instances,
    }
    if service.args.jobs is not None:
        most[JobInstances] = service.args.jobs.max_images
    models = [(model, "validation") for model in most]
    _, found = models_json_schema(
        [*models, (Problem, "serialization")],  # type: ignore[list-item]
        ref_template=REFERENCES,
    )
    schemas: Json = found["$defs"]
    for model, images in most.items():
        schemas[model.__name__]["properties"]["instances"]["maxItems"] = images
    for parameters in schemas.keys() & {"DryRunParameters", "ExplainParameters"}:
        for name, schema in schemas[parameters]["properties"].items():
            limit(name, schema, service)
    return schemas


def without_null(schema: Json) -> None:
    """Drop null from the schema of a query's parameter: there is none in a query."""
    kinds = [each for each in schema.pop("anyOf", []) if each.get("type") != "null"]
    for kind in kinds:
        schema |= kind
    if schema.get("default", 0) is None:
        del schema["default"]


def limit(name: str, schema: Json, service: Service) -> None:
    """Narrow the schema of a parameter to what this service takes."""
    configured = getattr(service.args.explainer, name, None)
    if configured is not None:
        schema["default"] = configured
    kind = next((e for e in schema.get("anyOf", []) if e.get("type") != "null"), schema)
    if name == "network":
        kind["enum"] = list(service.batchers)
    elif name == "target":
        kind["enum"] = list(service.manifest.classes)
    elif name == "depth":
        kind["maximum"] = service.args.max_depth


def refers_to(response: Json, names: tuple[str, ...]) -> bool:
    """Whether the JSON of a response is one of some schemas."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2] in names
