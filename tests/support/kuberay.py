"""What KubeRay 1.7.0 accepts as a RayCluster, RayJob or RayService, checked without Kubernetes.

The schemas are those of KubeRay's custom resource definitions (github.com/ray-project/kuberay, tag
v1.7.0, commit 59d663aeec13760646da3db9c1cf8cfe883e30b7, Apache-2.0), without their descriptions:
tests/data/kuberay_v1.7.0.json.xz. The rules that schemas do not have are stated here as the
operator's ray-operator/controllers/ray/utils/validation.go has them, as far as our files use what
they are about.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "data/kuberay_v1.7.0.json.xz"
CLUSTER_OF = {"RayCluster": "", "RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}
"""Where in its spec a resource describes the cluster; a RayCluster's spec is the description."""
LONGEST_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47}
"""KubeRay appends to the names of jobs and services when it names their clusters."""
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
TOKENS_SINCE = (2, 52)
RESOURCES = frozenset({"num-cpus", "num-gpus", "memory", "resources"})
"""Parameters of `ray start` that state what a node has."""

Json = dict[str, Any]


@cache
def schemas() -> Json:
    """The schema of each kind, in which objects have no other keys than the named ones."""
    stored: Json = json.loads(lzma.decompress(SCHEMAS.read_bytes()))
    return {kind: closed(schema) for kind, schema in stored["schemas"].items()}


def closed(schema: Json) -> Json:
    """The schema as Kubernetes applies it: an object with named properties has no others."""
    within = {
        key: closed(schema[key]) for key in ("items", "additionalProperties") if key in schema
    }
    schema = schema | within
    if "properties" in schema:
        schema["properties"] = {key: closed(part) for key, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    return schema


def with_defaults(value: Any, schema: Json) -> Any:
    """The value with the schema's defaults, which Kubernetes fills in before it validates."""
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    named = schema.get("properties", {})
    defaults = {key: part["default"] for key, part in named.items() if "default" in part}
    others = schema.get("additionalProperties") or {}
    return {
        key: with_defaults(item, named.get(key, others)) for key, item in (defaults | value).items()
    }


def problems(resource: Json) -> list[str]:
    """Why Kubernetes or KubeRay would refuse a resource; empty when they take it."""
    kind = resource.get("kind")
    if resource.get("apiVersion") != "ray.io/v1" or kind not in schemas():
        return [f"no resource of KubeRay: {resource.get('apiVersion')} {kind}"]
    complete = with_defaults(resource, schemas()[kind])
    errors = Draft202012Validator(schemas()[kind]).iter_errors(complete)
    wrong = [f"{error.json_path}: {error.message}" for error in errors]
    return wrong or [*repeated_keys(complete, schemas()[kind]), *broken_rules(complete)]


def repeated_keys(value: Any, schema: Json, path: str = "$") -> Iterator[str]:
    """Lists that are maps by some keys of their items, with two items of one key."""
    if isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys", [])
        named = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        yield from (f"{path}: {name} twice" for name in set(named) if named.count(name) > 1)
        for position, item in enumerate(value):
            yield from repeated_keys(item, schema.get("items", {}), f"{path}[{position}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            part = schema.get("properties", {}).get(key, {})
            yield from repeated_keys(item, part, f"{path}.{key}")


def broken_rules(resource: Json) -> Iterator[str]:
    """The operator's rules that a valid resource breaks."""
    kind, name, spec = resource["kind"], resource["metadata"].get("name", ""), resource["spec"]
    if len(name) > LONGEST_NAME[kind]:
        yield f"name: longer than {LONGEST_NAME[kind]} characters"
    if not DNS_LABEL.fullmatch(name):
        yield "name: not a DNS label"
    if kind == "RayJob":
        yield from job_rules(spec)
    cluster = spec.get(CLUSTER_OF[kind]) if CLUSTER_OF[kind] else spec
    if cluster is not None:
        yield from cluster_rules(cluster)
    if kind == "RayService":
        service = cluster["headGroupSpec"].get("headService", {})
        if service.get("metadata", {}).get("name"):
            yield "headService: KubeRay names that of a RayService"


def job_rules(spec: Json) -> Iterator[str]:
    """Rules of a RayJob's own settings."""
    selector = spec.get("clusterSelector")
    if not selector and "rayClusterSpec" not in spec:
        yield "neither rayClusterSpec nor clusterSelector"
    if selector and not selector.get("ray.io/cluster"):
        yield "clusterSelector: names no cluster"
    if selector and spec["backoffLimit"] > 0:
        yield "backoffLimit: not with clusterSelector"
    if spec["backoffLimit"] < 0:
        yield "backoffLimit: negative"
    if spec["ttlSecondsAfterFinished"] and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished: only with shutdownAfterJobFinishes"
    if spec["submissionMode"] == "SidecarMode" and "submitterPodTemplate" in spec:
        yield "submitterPodTemplate: not in SidecarMode"
    try:
        yaml.safe_load(spec.get("runtimeEnvYAML", ""))
    except yaml.YAMLError:
        yield "runtimeEnvYAML: not YAML"


def cluster_rules(spec: Json) -> Iterator[str]:
    """Rules of the description of a cluster."""
    scaler = spec.get("autoscalerOptions", {})
    scaled_by_v2 = spec.get("enableInTreeAutoscaling", False) and scaler.get("version") == "v2"
    if spec.get("authOptions", {}).get("mode") == "token":
        numbers = re.match(r"(\d+)\.(\d+)", spec.get("rayVersion", ""))
        if not numbers or tuple(map(int, numbers.groups())) < TOKENS_SINCE:
            yield "authOptions: a token needs a rayVersion of at least 2.52"
    if scaler.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions: idleTimeoutSeconds is negative"
    for group in (spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])):
        for problem in group_rules(group, scaled_by_v2=scaled_by_v2):
            yield f"{group.get('groupName', 'head')}: {problem}"


def group_rules(group: Json, *, scaled_by_v2: bool) -> Iterator[str]:
    """Rules of the head, or of a group of workers."""
    pod, started = group["template"]["spec"], group.get("rayStartParams", {})
    fewest, most = group.get("minReplicas", 0), group.get("maxReplicas", 0)
    if not pod["containers"]:
        yield "no container"
    if group.get("resources") and not RESOURCES.isdisjoint(started):
        yield "resources in two places"
    if "labels" in started:
        yield "labels belong beside rayStartParams"
    if scaled_by_v2 and pod.get("restartPolicy", "Never") != "Never":
        yield "restartPolicy must be Never with autoscaler v2"
    if "idleTimeoutSeconds" in group and not scaled_by_v2:
        yield "idleTimeoutSeconds only with autoscaler v2"
    if fewest < 0:
        yield "minReplicas is negative"
    if fewest > most:
        yield "minReplicas above maxReplicas"
