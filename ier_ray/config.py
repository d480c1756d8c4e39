"""Typed, frozen settings from a YAML file and dotted overrides; unknown keys are rejected.

A job declares its settings as a :class:`Settings` class. :func:`from_command_line` turns every
field into a flag (``--loss.balance 0.5``), reads ``--config FILE`` below the flags, and reports
every bad value by its full name.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from ier_ray.errors import SettingsError


class Settings(BaseModel):
    """Base of all settings: immutable, strict about names, documented by field docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


SettingsT = TypeVar("SettingsT", bound=Settings)


def parse_settings(kind: type[SettingsT], values: dict[str, Any], *, source: str) -> SettingsT:
    """Validate plain values.

    Raises:
        SettingsError: one line a problem, each with the field's dotted name, the value that
            came, and what is allowed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_readable(kind, problem) for problem in error.errors(include_url=False)]
        raise SettingsError("\n".join(f"{source}: {problem}" for problem in problems)) from None


def read_settings_file(path: str) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"--config {path}: is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"--config {path}: must hold a mapping, holds a {type(content).__name__}"
        )
    return content


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key!r} is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def from_command_line(
    kind: type[SettingsT], arguments: Sequence[str] | None = None, *, program: str, purpose: str
) -> SettingsT:
    """Settings from ``--config FILE`` and one flag a field; flags win over the file."""
    parser = argparse.ArgumentParser(
        prog=program, description=purpose, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the settings below")
    for name, field in _leaves(kind):
        spellings = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
        parser.add_argument(*spellings, dest=name, metavar="VALUE", help=_help(field))
    given = vars(parser.parse_args(arguments))
    path = given.pop("config", None)
    values = read_settings_file(path) if path else {}
    for name, text in given.items():
        _assign(values, name.split("."), yaml.safe_load(text))
    return parse_settings(kind, values, source=path or "command line")


def _leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _leaves(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split()).replace("%", "%%")
    default = field.get_default(call_default_factory=True, validated_data={})
    return f"{text} [{'required' if field.is_required() else f'default: {default}'}]"


def _assign(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        nested = values.setdefault(key, {})
        if not isinstance(nested, dict):
            raise SettingsError(
                f"{'.'.join(path)}: {key!r} is {nested!r} in the file, not a section"
            )
        values = nested
    values[path[-1]] = value


_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _readable(kind: type[BaseModel], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path) or kind.__name__
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            return f"{name} is not a setting; {_known_names(kind, path)}"
        case "missing":
            return f"{name} is required; set it in the file or with --{name}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bounds = [f"{sign} {context[key]:g}" for key, sign in _BOUNDS.items() if key in context]
            return f"{name} must be {' and '.join(bounds)}, got {problem['input']!r}"
        case "literal_error":
            return f"{name} must be {context['expected']}, got {problem['input']!r}"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{name}: {message}, got {problem['input']!r}" if path else message


def _known_names(kind: type[BaseModel], path: list[str]) -> str:
    for key in path[:-1]:
        field = kind.model_fields.get(key)
        if field is None or not isinstance(field.annotation, type):
            break
        kind = field.annotation
    known = list(kind.model_fields)
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}valid here: {', '.join(known)}"
