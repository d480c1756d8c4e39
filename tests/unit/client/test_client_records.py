"""The client's records are those of the service; it needs neither torch nor NumPy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel

from ier_ray.client import calls, records
from ier_ray.client.parameters import Parameters
from ier_ray.client.records import Record
from ier_ray.records import Leaf, Prediction
from ier_ray.serve import errors, replies
from ier_ray.serve import records as served
from ier_ray.serve.instances import ExplainInstances
from ier_ray.serve.jobs import records as jobs
from ier_ray.serve.schemas import ExplainParameters

PAIRS: list[tuple[type[Record], type[BaseModel]]] = [
    (records.Problem, errors.Problem),
    (records.Refused, served.Refused),
    (records.ModelInfo, served.ModelInfo),
    (records.Prediction, Prediction),
    (records.PredictionReply, served.PredictionReply),
    (records.PredictionList, served.PredictionList),
    (records.Leaf, Leaf),
    (records.TreeRegion, served.TreeRegion),
    (records.TreeLevel, served.TreeLevel),
    (records.Cost, served.Cost),
    (records.Explanation, served.ExplanationReply),
    (records.PredictedCost, served.CostReply),
    (records.JobImage, jobs.JobImage),
    (records.Job, jobs.JobReply),
    (records.JobList, jobs.JobList),
]
NAMES = {"ExplanationReply": "Explanation", "CostReply": "PredictedCost", "JobReply": "Job"}
FREE = ("description", "title", "examples", "minimum", "maximum", "additionalProperties")


def bare(schema: Any) -> Any:
    """A JSON schema without descriptions and limits, with the client's names of records."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"ref": NAMES.get(name, name)}
    return {name: bare(value) for name, value in schema.items() if name not in FREE}


def fields(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of each field; of settings, which the client keeps as they come, nothing."""
    properties = model.model_json_schema(mode="serialization")["properties"]
    found = {
        name: {
            key: bare(value)
            for key, value in schema.items()
            if key == "additionalProperties" or key not in FREE
        }
        for name, schema in properties.items()
    }
    if "settings" in found:
        found["settings"] = {}
    return found


@pytest.mark.parametrize(("own", "theirs"), PAIRS, ids=lambda model: model.__name__)
def test_a_record_has_the_fields_of_the_service(own: type[Record], theirs: type[BaseModel]) -> None:
    assert fields(own) == fields(theirs)


def test_no_reply_of_explanations_is_missing() -> None:
    kinds = served.ExplanationList.model_fields["predictions"].annotation.__args__[0].__args__  # type: ignore[union-attr]
    own = records.ExplanationList.model_fields["predictions"].annotation.__args__[0].__args__  # type: ignore[union-attr]
    assert {NAMES.get(kind.__name__, kind.__name__) for kind in kinds} == {
        kind.__name__ for kind in own
    } | {"PredictedCost"}  # of dry runs, which the client does not make


def test_parameters_are_those_of_the_service() -> None:
    own, theirs = get_type_hints(Parameters), get_type_hints(ExplainParameters)
    names = set(ExplainParameters.model_fields)
    assert set(own) == names
    for name in names - {"baseline"}:  # a color is any text here
        assert own[name] == theirs[name], name
    assert own["baseline"] is str
    assert "parameters" in ExplainInstances.model_fields


def test_media_types_are_those_of_the_service() -> None:
    assert (
        *(replies.JSON, replies.PNG),
        *(replies.EVENTS, replies.NPZ),
    ) == (calls.JSON, calls.PNG, calls.EVENTS, calls.NPZ)


def test_it_imports_no_heavy_library() -> None:
    code = (
        "import sys, ier_ray.client; "
        "print([name for name in ('torch', 'ray', 'numpy', 'PIL', 'pyarrow', 'fastapi', "
        "'ier_ray.storage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
