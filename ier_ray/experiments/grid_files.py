"""Reads grids from their files, which may share parts."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from ier_ray.config import in_one_line, merged
from ier_ray.errors import DataError
from ier_ray.experiments.grid import Grid


def grid_names() -> list[str]:
    """Names of all experiments."""
    folder = files("ier_ray.experiments.grids")
    return sorted(
        file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")
    )


def read_grid(name: str) -> Grid:
    """The grid of an experiment of the package."""
    return parsed_grid(package_file(f"{name}.yaml"), source=f"{name}.yaml")


def parsed_grid(text: str, *, source: str) -> Grid:
    """A grid from YAML.

    Raises:
        DataError: when it does not describe one.
    """
    try:
        return Grid.model_validate(completed(yaml.safe_load(text)))
    except (ValidationError, yaml.YAMLError, FileNotFoundError) as error:
        said = in_one_line(error) if isinstance(error, ValidationError) else str(error)
        raise DataError(f"{source}: is no grid: {said}") from error


def completed(content: Any) -> Any:
    """Content of a YAML file with what is shared filled in.

    An item ``{like: NAME}`` of a list stands for all items of ``shared/NAME.yaml``; a mapping with
    ``like`` has what that file has, under its own values.
    """
    if isinstance(content, list):
        found: list[Any] = []
        for item in content:
            alike = isinstance(item, dict) and set(item) == {"like"}
            found += completed(item) if alike else [completed(item)]
        return found
    if not isinstance(content, dict):
        return content
    own = {name: completed(value) for name, value in content.items() if name != "like"}
    if "like" not in content:
        return own
    shared = completed(yaml.safe_load(package_file(f"shared/{content['like']}.yaml")))
    return merged(shared, own) if own or isinstance(shared, dict) else shared


def package_file(path: str) -> str:
    """Text of a file of the package's grids."""
    file = files("ier_ray.experiments.grids")
    for part in path.split("/"):
        file = file / part
    return file.read_text(encoding="utf-8")
