"""Typed, frozen settings from plain values or a YAML file; unknown keys are rejected.

A job declares its settings as a :class:`Settings` class. Sections of it are Settings too. A
section that is ``flat`` lends its settings short names: ``max_bad`` for ``layout.max_bad``.
Every bad value is reported by its dotted name.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from ier_ray.errors import SettingsError

SettingPath = tuple[str, ...]
"""Names of a setting and of the sections around it, outermost first: ``("loss", "balance")``."""


class Settings(BaseModel):
    """Base of all settings: immutable, strict about names, documented by field docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    flat: ClassVar[tuple[str, ...]] = ()
    """Sections whose settings files and flags may name without the section."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        names = [*cls.model_fields, *(name for _, name in flat_names(cls))]
        clashes = [name for name, times in Counter(names).items() if times > 1]
        if clashes:
            raise TypeError(f"{cls.__name__}: {', '.join(clashes)}: two settings of one name")


SettingsT = TypeVar("SettingsT", bound=Settings)


def section_of(field: FieldInfo) -> type[Settings] | None:
    """The settings class of a section; None for a single setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def flat_names(kind: type[Settings]) -> Iterator[SettingPath]:
    """The settings of the flat sections, each as ``(section, name)``."""
    for section in kind.flat:
        inner = section_of(kind.model_fields[section])
        if inner is None:
            raise TypeError(f"{kind.__name__}: flat: {section!r} is not a section")
        yield from ((section, name) for name in inner.model_fields)


def parse_settings(
    kind: type[SettingsT],
    values: Mapping[str, Any],
    *,
    source: str,
    flags: Mapping[SettingPath, Any] = MappingProxyType({}),
) -> SettingsT:
    """Validate plain values. A section given in part keeps what its default says of the rest.

    Args:
        values: as a file has them, sections in sections.
        source: where they came from, for the messages.
        flags: values from the command line, which win.

    Raises:
        SettingsError: one line per problem, each with the field's dotted name, the value that
            came, and what is allowed.
    """
    placed = _in_sections(kind, values, source)
    for path, value in flags.items():
        _assign(placed, path, value, source)
    try:
        return kind.model_validate(_over_defaults(kind, placed))
    except ValidationError as error:
        problems = [
            f"{'command line' if _is_below(problem['loc'], flags) else source}: "
            f"{_readable(kind, problem)}"
            for problem in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(problems)) from None


def _in_sections(kind: type[Settings], values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A copy of plain values with flat names moved to their sections."""
    placed = dict(values)
    for name, field in kind.model_fields.items():
        inner = section_of(field)
        if inner is not None and isinstance(placed.get(name), dict):
            placed[name] = _in_sections(inner, placed[name], source)
    for section, name in flat_names(kind):
        if name in placed:
            if isinstance(placed.get(section), dict) and name in placed[section]:
                raise SettingsError(f"{source}: {name} is given twice, also as {section}.{name}")
            _assign(placed, (section, name), placed.pop(name), source)
    return placed


def _assign(values: dict[str, Any], path: SettingPath, value: Any, source: str) -> None:
    for key in path[:-1]:
        nested = values.setdefault(key, {})
        if not isinstance(nested, dict):
            raise SettingsError(f"{source}: {'.'.join(path)}: {key} is {nested!r}, not a section")
        values = nested
    values[path[-1]] = value


def _over_defaults(kind: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """Sections given in part, with what their defaults set beside that."""
    complete = dict(values)
    for name, field in kind.model_fields.items():
        inner = section_of(field)
        if inner is None:
            continue
        if field.is_required():
            complete.setdefault(name, {})  # so that each setting missing in it is named
        if isinstance(complete.get(name), dict):
            default = field.default
            below = default.model_dump(exclude_unset=True) if isinstance(default, Settings) else {}
            complete[name] = _over_defaults(inner, _merged(below, complete[name]))
    return complete


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **both}


def read_settings_file(path: str) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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


_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _readable(kind: type[Settings], problem: Any) -> str:
    name = _dotted(kind, problem["loc"]) or kind.__name__
    context, value = problem.get("ctx", {}), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{name} is not a setting; {_known_names(kind, problem['loc'])}"
        case "missing":
            flag = name.replace("_", "-")
            return f"{name} is required; set it in the file or with --{flag}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bounds = [f"{sign} {context[key]:g}" for key, sign in _BOUNDS.items() if key in context]
            return f"{name} must be {' and '.join(bounds)}, got {value}"  # a number, maybe as text
        case "literal_error":
            return f"{name} must be {context['expected']}, got {value!r}"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{name}: {message}, got {value!r}" if problem["loc"] else message


def _is_below(location: tuple[int | str, ...], paths: Collection[SettingPath]) -> bool:
    return any(location[: len(path)] == path for path in paths)


def _dotted(kind: type[Settings], location: tuple[int | str, ...]) -> str:
    """The name of a setting, without flat sections; of a list's item with its number."""
    parts: list[str] = []
    inner: type[Settings] | None = kind
    for depth, part in enumerate(location):
        if inner is None:
            if isinstance(part, int):  # otherwise the type of a union that pydantic tried
                parts.append(str(part))
            continue
        if part not in inner.flat or depth == len(location) - 1:
            parts.append(str(part))
        field = inner.model_fields.get(str(part))
        inner = section_of(field) if field else None
    return ".".join(parts)


def _known_names(kind: type[Settings], location: tuple[int | str, ...]) -> str:
    for key in location[:-1]:
        inner = section_of(kind.model_fields[str(key)])
        if inner is None:
            break
        kind = inner
    known = [*kind.model_fields, *(name for _, name in flat_names(kind))]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}valid here: {', '.join(known)}"
