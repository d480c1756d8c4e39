from __future__ import annotations

import copy
import logging
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from ray._private.runtime_env.packaging import _dir_travel
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)
from support.runs import ROOT

from ier_ray.serve.front import ENVIRONMENT
from ier_ray.serve.schemas import AppArgs

SOURCES = ["ier_ray/data/shards.py", "jobs/train.py", "configs/paper.yaml", "requirements.lock"]
LOCAL = [
    *(".venv/bin/python", ".venv-uv/bin/uv", "ier_ray/__pycache__/config.pyc", "dist/ier_ray.whl"),
    *(".mypy_cache/x.json", ".ruff_cache/x", ".import_linter_cache/x", "ier_ray.egg-info/x"),
    *(
        ".coverage",
        ".coverage.host.123",
        "coverage.xml",
        "htmlcov/index.html",
        "mlruns/0/meta.yaml",
    ),
    *("runs/demo/report.html", "data/mine/ier/manifest.json", "explanations/a.png", "scene.png"),
]
"""What the project's commands leave in a checkout."""


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


def test_cluster_file_passes_rays_own_validation() -> None:
    config = read("cluster.yaml")
    validate_config(prepare_config(copy.deepcopy(config)))
    config["max_wrokers"] = 3
    with pytest.raises(Exception, match="max_wrokers"):  # the validation can fail
        validate_config(prepare_config(config))


def test_cluster_nodes_have_the_environment_of_the_services_front() -> None:
    options = read("cluster.yaml")["docker"]["run_options"]
    given = dict(option[3:].split("=") for option in options if option.startswith("-e "))
    assert given == ENVIRONMENT


def test_cluster_file_has_a_cpu_head_and_workers_from_zero() -> None:
    config = read("cluster.yaml")
    head = config["available_node_types"][config["head_node_type"]]
    worker = config["available_node_types"]["gpu_worker"]
    assert head["resources"].get("GPU", 0) == 0
    assert worker["min_workers"] == 0
    assert worker["resources"]["GPU"] == 1
    assert ":2." in config["docker"]["image"]  # pinned
    assert config["head_start_ray_commands"]


def test_cluster_image_has_the_locked_ray() -> None:
    locked = next(
        line.split("==")[1].split()[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.startswith("ray==")
    )
    assert f":{locked}-" in read("cluster.yaml")["docker"]["image"]


def test_lock_names_hashes_and_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or "--index" in line]
    pins = [line for line in lines if "==" in line and not line.startswith((" ", "#"))]
    assert len(pins) > 100
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)


def test_nodes_get_what_git_tracks() -> None:
    config = read("cluster.yaml")
    assert ".git/" in config["rsync_exclude"]
    assert config["rsync_filter"] == [".gitignore"]
    patterns = [
        line for line in (ROOT / ".gitignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert len(patterns) > 10
    for pattern in patterns:  # git and rsync read these alike: no "!", "**", inner "/" or space
        assert pattern.strip("/*")
        assert not set("!? [\\") & set(pattern)
        assert "**" not in pattern
        assert "/" not in pattern.removeprefix("/").removesuffix("/")


def test_jobs_travel_without_what_stays_on_this_machine(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in SOURCES + LOCAL:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sent: list[Path] = []
    _dir_travel(
        tmp_path, [], sent.append, include_gitignore=True, logger=logging.getLogger(__name__)
    )
    files = {str(path.relative_to(tmp_path)) for path in sent if path.is_file()}
    assert files == {*SOURCES, ".gitignore"}


def assert_known(section: dict[str, Any], kind: type[BaseModel]) -> None:
    """Ray's schemas let unknown keys pass in silence."""
    assert not set(section) - set(kind.model_fields)


def test_serve_file_has_known_keys_only_and_valid_arguments() -> None:
    config = read("serve_config.yaml")
    ServeDeploySchema.model_validate(config)
    assert_known(config, ServeDeploySchema)
    assert_known(config["http_options"], HTTPOptionsSchema)
    assert config["http_options"]["host"] == "127.0.0.1"
    for application in config["applications"]:
        assert_known(application, ServeApplicationSchema)
        module, name = application["import_path"].split(":")
        assert callable(getattr(import_module(module), name))
        AppArgs.model_validate(application["args"])
        with pytest.raises(ValidationError):
            AppArgs.model_validate(application["args"] | {"chekpoint": "x"})
        for deployment in application["deployments"]:
            assert_known(deployment, DeploymentSchema)


def test_the_package_ships_its_report_template() -> None:
    assert (Path(ROOT) / "ier_ray/experiments/templates/report.html").exists()
