"""The files that start clusters and the service, and what they have in common."""

from __future__ import annotations

import tomllib
from importlib import import_module
from typing import Any

import yaml
from pydantic import BaseModel
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from ier_ray.serve.schemas import AppArgs
from support.runs import ROOT


def read(name: str) -> dict[str, Any]:
    """A YAML file of the project."""
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


def project() -> dict[str, Any]:
    """The section `project` of pyproject.toml."""
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return content


def locked_ray() -> str:
    """Ray's version in the lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith("ray=="))


def image() -> str:
    """The only image: its tag tells the project's version and Ray's."""
    return f"YOUR-REGISTRY/{project()['name']}:{project()['version']}-ray{locked_ray()}"


def assert_known(section: dict[str, Any], kind: type[BaseModel]) -> None:
    """Ray's schemas let unknown keys pass in silence."""
    assert not set(section) - set(kind.model_fields)


def assert_service(config: dict[str, Any]) -> None:
    """Serve and the application accept the configuration of a service."""
    ServeDeploySchema.model_validate(config)
    assert_known(config, ServeDeploySchema)
    assert_known(config["http_options"], HTTPOptionsSchema)
    for application in config["applications"]:
        assert_known(application, ServeApplicationSchema)
        module, name = application["import_path"].split(":")
        assert callable(getattr(import_module(module), name))
        AppArgs.model_validate(application["args"])
        for deployment in application["deployments"]:
            assert_known(deployment, DeploymentSchema)
