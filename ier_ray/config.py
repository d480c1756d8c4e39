"""Typed, frozen settings from plain values or a YAML file; unknown keys are rejected.

A job declares its settings as a :class:`Settings` class. Its sections are Settings, too. The
settings of a ``flat`` section have short names: ``max_bad`` for ``layout.max_bad``.
Every bad value is reported with its dotted name. A value in a file is text until the type of its
setting is known, as on the command line: ``name: 2024`` and ``name: 12:30`` are names.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo

from ier_ray import storage
from ier_ray.errors import SettingsError, StorageError

SettingPath = tuple[str, ...]
"""Names of a setting and of the sections around it, outermost first: ``("loss", "balance")``."""


def _is_location(text: str) -> str:
    try:
        storage.parsed(text)
    except StorageError as error:
        raise ValueError(str(error)) from error
    return text


Location = Annotated[str, AfterValidator(_is_location)]
"""A setting that names a file or a directory: see :mod:`ier_ray.storage`."""

Locations = Annotated[
    list[Location], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""One location or several."""


def mapping_in_json(given: Any) -> Any:
    """A mapping that a flag gives as JSON; anything but text as it is."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except json.JSONDecodeError as error:
        raise ValueError(f"is neither a mapping nor JSON ({error})") from error


Value = TypeVar("Value")
JsonMapping = Annotated[dict[str, Value], BeforeValidator(mapping_in_json)]
"""A mapping of names to values; in a flag, it is JSON."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed of any generator: numpy's, torch's, Optuna's and scikit-learn's all take 32 bits."""


class Settings(BaseModel):
    """Base of all settings: immutable, strict about names, documented by field docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    flat: ClassVar[tuple[str, ...]] = ()
    """Sections whose settings may be named without the section, in files and flags."""

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
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return None


def flat_names(settings_class: type[Settings]) -> Iterator[SettingPath]:
    """The settings of the flat sections, each as ``(section, name)``."""
    for section in settings_class.flat:
        inner = section_of(settings_class.model_fields[section])
        if inner is None:
            raise TypeError(f"{settings_class.__name__}: flat: {section!r} is not a section")
        yield from ((section, name) for name in inner.model_fields)


def parse_settings(
    settings_class: type[SettingsT],
    values: Mapping[str, Any],
    *,
    source: str,
    flags: Mapping[SettingPath, Any] = MappingProxyType({}),
) -> SettingsT:
    """Validate plain values. Settings that a section leaves out keep their defaults.

    Args:
        values: the content of a settings file: nested mappings, one per section.
        source: where they came from, for the messages.
        flags: values from the command line, which override the file's.

    Raises:
        SettingsError: one line per problem, each with the field's dotted name, the value
            given, and what is allowed.
    """
    placed = _in_sections(settings_class, values, source)
    for path, value in flags.items():
        _assign(placed, path, value, source)
    try:
        return settings_class.model_validate(_over_defaults(settings_class, placed))
    except ValidationError as error:
        problems = [
            f"{'command line' if _is_below(problem['loc'], flags) else source}: "
            f"{_readable(settings_class, problem)}"
            for problem in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(problems)) from None


def _in_sections(
    settings_class: type[Settings], values: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """A copy of plain values with the settings of flat sections moved into their sections."""
    placed = dict(values)
    for name, field in settings_class.model_fields.items():
        inner = section_of(field)
        if inner is not None and isinstance(placed.get(name), dict):
            placed[name] = _in_sections(inner, placed[name], source)
    for section, name in flat_names(settings_class):
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


def _over_defaults(settings_class: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """The values, with sections that are given in part completed from their defaults."""
    complete = dict(values)
    for name, field in settings_class.model_fields.items():
        inner = section_of(field)
        if inner is None:
            continue
        if field.is_required():
            complete.setdefault(name, {})  # so that the error names each missing setting
        if isinstance(complete.get(name), dict):
            default = field.default
            below = default.model_dump(exclude_unset=True) if isinstance(default, Settings) else {}
            complete[name] = _over_defaults(inner, merged(below, complete[name]))
    return complete


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings, with the values of the second over those of the first."""
    both = {
        name: merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **both}


def read_settings_file(location: str, *, setting: str = "--config") -> dict[str, Any]:
    """Read the mapping in a YAML file in UTF-8: texts, None, lists and mappings of these.

    Args:
        setting: what names the file, for the messages.

    Raises:
        SettingsError: when the file cannot be read or holds no mapping, or a key twice.
    """
    source = f"{setting} {location}"
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")
        content = yaml.load(text, Loader=_TextLoader)  # noqa: S506 (a SafeLoader)
    except StorageError as error:
        raise SettingsError(f"{setting} {error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{source}: is not in UTF-8 ({error.reason} at byte {error.start}); save it in UTF-8"
        ) from error
    except yaml.reader.ReaderError as error:  # NUL bytes are valid UTF-8
        raise SettingsError(
            f"{source}: is not text in UTF-8 (character {error.character:#x} at "
            f"{error.position}); save it in UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "text"
        raise SettingsError(f"{source}: must hold a mapping, but holds {kind}")
    return content


class _TextLoader(yaml.SafeLoader):
    """Reads plain scalars as text, except nulls; rejects a key that is given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key!r} is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted name and value of each leaf of nested mappings."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def in_one_line(error: ValidationError) -> str:
    """What is wrong with a record of this program's that cannot be read."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )


_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _readable(settings_class: type[Settings], problem: Any) -> str:
    name = _dotted(settings_class, problem["loc"]) or settings_class.__name__
    context, value = problem.get("ctx", {}), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{name} is not a setting; {_known_names(settings_class, problem['loc'])}"
        case "missing":
            flag = name.replace("_", "-")
            return f"{name} is required; set it in the file or with --{flag}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bounds = [
                f"{sign} {context[key]:.15g}" for key, sign in _BOUNDS.items() if key in context
            ]
            return f"{name} must be {' and '.join(bounds)}, got {value}"  # a number, or its text
        case "literal_error":
            return f"{name} must be {context['expected']}, got {value!r}"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{name}: {message}, got {value!r}" if problem["loc"] else message


def _is_below(location: tuple[int | str, ...], paths: Collection[SettingPath]) -> bool:
    return any(location[: len(path)] == path for path in paths)


def _dotted(settings_class: type[Settings], location: tuple[int | str, ...]) -> str:
    """The dotted name of a setting, without flat sections; a list item ends in its index."""
    parts: list[str] = []
    inner: type[Settings] | None = settings_class
    for depth, part in enumerate(location):
        if inner is None:
            if isinstance(part, int):  # else the name of a union member that pydantic tried
                parts.append(str(part))
            continue
        if part not in inner.flat or depth == len(location) - 1:
            parts.append(str(part))
        field = inner.model_fields.get(str(part))
        inner = section_of(field) if field else None
    return ".".join(parts)


def _known_names(settings_class: type[Settings], location: tuple[int | str, ...]) -> str:
    for key in location[:-1]:
        inner = section_of(settings_class.model_fields[str(key)])
        if inner is None:
            break
        settings_class = inner
    known = [*settings_class.model_fields, *(name for _, name in flat_names(settings_class))]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}valid here: {', '.join(known)}"
