from __future__ import annotations

import copy
import re
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from support.deploy_files import assert_service, image, project, read
from support.runs import ROOT

from ier_ray.serve.front import ENVIRONMENT
from ier_ray.serve.schemas import AppArgs

LAUNCHER_FILES = ["cluster.yaml", "deploy/on-premises.yaml"]
"""What `ray up` starts."""
TOKEN = {"RAY_AUTH_MODE": "token"}


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_launcher_files_pass_rays_own_validation(name: str) -> None:
    config = read(name)
    validate_config(prepare_config(copy.deepcopy(config)))
    config["max_wrokers"] = 3
    with pytest.raises(Exception, match="max_wrokers"):  # the validation can fail
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_launched_nodes_have_the_environment_of_the_services_front_and_want_a_token(
    name: str,
) -> None:
    config = read(name)
    options = config["docker"]["run_options"]  # of all nodes
    given = dict(option[3:].split("=") for option in options if option.startswith("-e "))
    assert given == ENVIRONMENT | TOKEN
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    of_some = [
        *config["docker"].get("head_run_options", []),
        *config["docker"].get("worker_run_options", []),
        *(
            option
            for node in config.get("available_node_types", {}).values()
            for option in node.get("docker", {}).get("worker_run_options", [])
        ),
    ]
    assert not [option for option in of_some if "-e" in option.split()]


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_launched_nodes_run_the_image_and_install_nothing(name: str) -> None:
    config = read(name)
    assert config["docker"]["image"] == image()
    assert not [key for key in config if "setup" in key or "initialization" in key]


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_launched_heads_run_no_tasks_and_listen_behind_ssh(name: str) -> None:
    config = read(name)
    [start] = [line for line in config["head_start_ray_commands"] if "--head" in line]
    assert {"--num-cpus=0", "--dashboard-host=127.0.0.1"} < set(start.split())
    [join] = [line for line in config["worker_start_ray_commands"] if "--address" in line]
    assert "--num-cpus" not in join


def test_aws_head_has_no_cpus_and_workers_start_from_none() -> None:
    config = read("cluster.yaml")
    types = dict(config["available_node_types"])
    assert types.pop(config["head_node_type"])["resources"] == {"CPU": 0, "GPU": 0}
    assert {node["min_workers"] for node in types.values()} == {0}
    assert sum(node["max_workers"] for node in types.values()) <= config["max_workers"]
    for node in types.values():
        wants_gpus = "--gpus all" in node.get("docker", {}).get("worker_run_options", [])
        assert wants_gpus == bool(node["resources"]["GPU"])


def test_aws_nodes_are_started_as_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's launcher starts a node of each type on a simulated EC2."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # the other tests' S3
    config = read("cluster.yaml")
    with mock_aws():
        ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
        iam = boto3.client("iam")
        for name in ("head_profile", "worker_profile"):
            iam.create_instance_profile(InstanceProfileName=config["metadata"][name]["Name"])
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        started = {}
        for name, node in config["available_node_types"].items():
            place = {"SubnetIds": [subnet]}  # which Ray finds itself
            [created] = provider.create_node(node["node_config"] | place, {"type": name}, 1)
            found = ec2.describe_instances(InstanceIds=[created])
            started[name] = found["Reservations"][0]["Instances"][0]
    profiles = {name: node["IamInstanceProfile"]["Arn"] for name, node in started.items()}
    assert profiles.pop("head").endswith(":instance-profile/ier-ray-head")
    assert all(arn.endswith(":instance-profile/ier-ray-worker") for arn in profiles.values())
    assert {node["ImageId"] for node in started.values()} == {config["metadata"]["ami"]}
    spot = {name for name, node in started.items() if node.get("InstanceLifecycle") == "spot"}
    assert spot == {"gpu_spot_worker"}
    assert started["gpu_worker"]["InstanceType"] == started["gpu_spot_worker"]["InstanceType"]


def test_the_image_has_what_is_locked_for_jobs_and_the_service() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    install = next(line for line in lines if "--requirement pyproject.toml" in line)
    assert "--constraint requirements.lock" in install  # uv verifies the hashes of constraints
    extras = set(re.findall(r"--extra (\w+)", install))
    assert extras == set(project()["optional-dependencies"]) - {"compare", "dev"}
    [base] = [line for line in lines if line.startswith("FROM ")]
    assert base.startswith("FROM python:3.11.")
    assert any(line.startswith("ENV HOME=/home/ray") for line in lines)  # Ray's launcher reads it
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in allowed if not line.startswith("#")]
    assert rules[0] == "*"
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert {f"!{name}" for name in copied} == {rule for rule in rules if rule.startswith("!")}


def test_lock_names_hashes_and_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or "--index" in line]
    pins = [line for line in lines if "==" in line and not line.startswith((" ", "#"))]
    assert len(pins) > 100
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)


def test_serve_file_has_known_keys_only_and_valid_arguments() -> None:
    config = read("serve_config.yaml")
    assert_service(config)
    assert config["http_options"]["host"] == "127.0.0.1"
    [application] = config["applications"]
    with pytest.raises(ValidationError):
        AppArgs.model_validate(application["args"] | {"chekpoint": "x"})
    with pytest.raises(AssertionError):
        assert_service(config | {"proxy_locaton": "HeadOnly"})


def test_the_package_ships_its_report_template() -> None:
    assert (Path(ROOT) / "ier_ray/report/templates/report.html").exists()
