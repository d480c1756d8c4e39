"""KubeRay accepts the files in deploy/kuberay; they drift neither from each other nor from ours."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from support.deploy_files import assert_service, image, locked_ray, read
from support.kuberay import CLUSTER_OF, problems
from support.runs import ROOT

from ier_ray.command_line import from_command_line
from ier_ray.serve.front import ENVIRONMENT
from ier_ray.training.settings import TrainSettings

FILES = ["raycluster", "rayjob", "rayservice"]
IN_IMAGE = "/home/ray/ier_ray"

Json = dict[str, Any]


def resource(name: str) -> Json:
    return read(f"deploy/kuberay/{name}.yaml")


def cluster_of(given: Json) -> Json:
    """The description of the cluster in a resource."""
    place = CLUSTER_OF[given["kind"]]
    found: Json = given["spec"][place] if place else given["spec"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_kuberay_accepts_the_file(name: str) -> None:
    assert problems(resource(name)) == []


def test_the_cluster_is_the_same_in_all_files() -> None:
    cluster = cluster_of(resource("raycluster"))
    assert cluster_of(resource("rayjob")) == cluster
    assert cluster_of(resource("rayservice")) == cluster


def test_all_nodes_have_the_image_the_environment_of_the_front_and_a_token() -> None:
    cluster = cluster_of(resource("raycluster"))
    assert cluster["rayVersion"] == locked_ray()
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert container["image"] == image()
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        assert given == ENVIRONMENT
        assert container["envFrom"] == [{"secretRef": {"name": "ier-ray-storage"}}]


def test_the_head_runs_no_tasks_and_workers_start_from_none() -> None:
    cluster = cluster_of(resource("raycluster"))
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert {group["minReplicas"] for group in cluster["workerGroupSpecs"]} == {0}


def test_the_job_is_a_training_with_valid_settings() -> None:
    program, script, *arguments = shlex.split(resource("rayjob")["spec"]["entrypoint"])
    assert program == "python"
    assert (ROOT / script.removeprefix(f"{IN_IMAGE}/")) == ROOT / "jobs/train.py"
    here = [argument.replace(IN_IMAGE, str(ROOT)) for argument in arguments]
    settings = from_command_line(TrainSettings, here, program="train", purpose="")
    assert settings.storage.startswith("s3://")


def test_the_service_is_that_of_the_serve_file() -> None:
    ours = read("serve_config.yaml")
    config: Json = yaml.safe_load(resource("rayservice")["spec"]["serveConfigV2"])
    assert_service(config)
    [application] = config["applications"]
    for name in ("checkpoint", "tokens"):  # others can reach it: it wants tokens
        assert application["args"].pop(name).startswith("s3://")
    jobs = application["args"].pop("jobs")  # any node may have their keeper
    assert jobs["storage"].startswith("s3://")
    assert jobs["database"].startswith("postgresql://")
    for name in ("checkpoint", "jobs"):
        del ours["applications"][0]["args"][name]
    assert config["applications"] == ours["applications"]
    assert config["http_options"] == ours["http_options"] | {"host": "0.0.0.0"}  # noqa: S104
    assert config["proxy_location"] == "EveryNode"  # workers are ready when their proxies are


def head(spec: Json) -> Json:
    found: Json = spec["headGroupSpec"]
    return found


def workers(spec: Json) -> Json:
    found: Json = spec["workerGroupSpecs"][0]
    return found


def pod(group: Json) -> Json:
    found: Json = group["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda spec: spec.update(rayVersoin="2.60.0"), "rayVersoin"),
        (lambda spec: spec.update(rayVersion=2.6), "2.6 is not of type 'string'"),
        (lambda spec: spec["authOptions"].update(mode="tokens"), "'tokens' is not one of"),
        (lambda spec: pod(head(spec))["containers"][0].update(imag="x"), "imag"),
        (lambda spec: workers(spec).pop("groupName"), "'groupName' is a required property"),
        (lambda spec: pod(head(spec)).pop("containers"), "'containers' is a required property"),
        (
            lambda spec: pod(head(spec))["containers"][0]["ports"].append({"containerPort": 8000}),
            "(8000, 'TCP') twice",
        ),
        (
            lambda spec: pod(head(spec))["containers"][0]["env"].append(
                {"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "0"}
            ),
            "('RAY_SERVE_ENABLE_HA_PROXY',) twice",
        ),
        (lambda spec: spec.pop("rayVersion"), "a token needs a rayVersion"),
        (lambda spec: spec.update(rayVersion="2.51.1"), "a token needs a rayVersion"),
        (lambda spec: spec["autoscalerOptions"].update(idleTimeoutSeconds=-1), "is negative"),
        (lambda spec: pod(workers(spec)).update(restartPolicy="Always"), "must be Never"),
        (lambda spec: pod(workers(spec)).update(containers=[]), "no container"),
        (lambda spec: head(spec).update(resources={"CPU": "0"}), "resources in two places"),
        (lambda spec: head(spec)["rayStartParams"].update(labels="a=b"), "labels belong"),
        (lambda spec: workers(spec).update(minReplicas=9), "minReplicas above maxReplicas"),
        (lambda spec: workers(spec).update(minReplicas=-1), "minReplicas is negative"),
        (
            lambda spec: (
                workers(spec).update(idleTimeoutSeconds=60),
                spec["autoscalerOptions"].pop("version"),
            ),
            "idleTimeoutSeconds only with autoscaler v2",
        ),
    ],
)
def test_a_wrong_cluster_is_refused(change: Callable[[Json], Any], problem: str) -> None:
    wrong = copy.deepcopy(resource("raycluster"))
    change(wrong["spec"])
    assert problem in "\n".join(problems(wrong))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda spec: spec.update(backoffLimit="2"), "'2' is not of type 'integer'"),
        (lambda spec: spec.update(backoffLimit=-1), "backoffLimit: negative"),
        (
            lambda spec: spec.update(clusterSelector={"ray.io/cluster": "ier-ray"}),
            "backoffLimit: not with clusterSelector",
        ),
        (
            lambda spec: spec.update(clusterSelector={"cluster": "ier-ray"}, backoffLimit=0),
            "names no cluster",
        ),
        (lambda spec: spec.pop("rayClusterSpec"), "neither rayClusterSpec nor clusterSelector"),
        (lambda spec: spec.pop("shutdownAfterJobFinishes"), "only with shutdownAfterJobFinishes"),
        (
            lambda spec: spec.update(
                submissionMode="SidecarMode",
                submitterPodTemplate=spec["rayClusterSpec"]["headGroupSpec"]["template"],
            ),
            "not in SidecarMode",
        ),
        (lambda spec: spec.update(runtimeEnvYAML="a: ["), "not YAML"),
        (lambda spec: spec["rayClusterSpec"].pop("rayVersion"), "a token needs a rayVersion"),
    ],
)
def test_a_wrong_job_is_refused(change: Callable[[Json], Any], problem: str) -> None:
    wrong = copy.deepcopy(resource("rayjob"))
    change(wrong["spec"])
    assert problem in "\n".join(problems(wrong))


def test_a_job_on_a_running_cluster_is_accepted() -> None:
    """As the comment in the file says."""
    given = resource("rayjob")
    for key in ("rayClusterSpec", "backoffLimit"):
        del given["spec"][key]
    given["spec"]["clusterSelector"] = {
        "ray.io/cluster": resource("raycluster")["metadata"]["name"]
    }
    assert problems(given) == []


@pytest.mark.parametrize(
    ("name", "wrong", "problem"),
    [
        ("raycluster", "a" * 54, "longer than 53"),
        ("rayjob", "a" * 48, "longer than 47"),
        ("rayservice", "a" * 48, "longer than 47"),
        ("raycluster", "ier_ray", "not a DNS label"),
        ("rayjob", "1st", "not a DNS label"),
    ],
)
def test_names_that_kuberay_cannot_extend_are_refused(name: str, wrong: str, problem: str) -> None:
    given = resource(name)
    given["metadata"]["name"] = wrong
    assert problem in "\n".join(problems(given))
    given["metadata"]["name"] = "a" * (47 if name != "raycluster" else 53)
    assert problems(given) == []


def test_other_resources_are_refused() -> None:
    assert problems(resource("raycluster") | {"apiVersion": "ray.io/v1alpha1"})
    assert problems(resource("raycluster") | {"kind": "Pod"})
    service = resource("rayservice")
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["headService"] = {
        "metadata": {"name": "own"}
    }
    assert problems(service)
