"""A job's command line: one flag per setting, which overrides a YAML file.

Built on argparse and pydantic, because pydantic-settings, jsonargparse, tyro and cyclopts each
misread some file names (with a comma, a quote or brackets, or named ``true``), or lack near
matches, sections, or one line per problem.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ier_ray.config import (
    SettingPath,
    Settings,
    SettingsT,
    parse_settings,
    read_settings_file,
    section_of,
)
from ier_ray.errors import SettingsError

COMMAND_LINE = "command line"


def from_command_line(
    settings_class: type[SettingsT],
    arguments: Sequence[str] | None = None,
    *,
    program: str,
    purpose: str,
) -> SettingsT:
    """Settings from ``--config FILE`` and one flag per setting; flags override the file.

    A value is parsed as the field's type; a ``str`` is taken literally. A list takes several
    words, or one ``[a.jpg, b.png]``; where None is allowed, ``none`` and ``null`` are None.

    Raises:
        SettingsError: one line per problem.
        SystemExit: after ``--help``.
    """
    parser = _Parser(
        prog=program,
        usage=f"{program} [--config FILE] [--SETTING VALUE ...]",
        description=purpose,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the settings below")
    flags = list(_add_section(parser, settings_class, title="settings"))
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise SettingsError("\n".join(_unknown(unknown, [flag.name for flag in flags])))
    given = vars(parsed)
    file = given.pop("config", None)
    return parse_settings(
        settings_class,
        read_settings_file(file) if file else {},
        source=file or COMMAND_LINE,
        flags={flag.path: flag.value(given[flag.name]) for flag in flags if flag.name in given},
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{COMMAND_LINE}: {message}")


@dataclass(frozen=True)
class _Flag:
    path: SettingPath
    name: str
    """Dotted name as in the file, without flat sections."""
    field: FieldInfo
    default: Any

    @property
    def types(self) -> tuple[Any, ...]:
        """The field's type, or the members of its union."""
        annotation = _bare(self.field.annotation)
        is_union = get_origin(annotation) in (Union, types.UnionType)
        return tuple(map(_bare, get_args(annotation))) if is_union else (annotation,)

    @property
    def is_list(self) -> bool:
        return any(get_origin(member) is list for member in self.types)

    def spellings(self) -> Iterator[str]:
        """Accepted flags: with dashes (as in the help) or underscores, and with all sections."""
        for name in (self.name, ".".join(self.path)):
            yield f"--{name.replace('_', '-')}"
            yield f"--{name}"

    def value(self, given: Any) -> Any:
        """The value for pydantic to validate.

        Args:
            given: the text; for a list, the words after each use of the flag.
        """
        if self.is_list:
            return [item for words in given for item in _items(words)]
        is_none = types.NoneType in self.types and given.lower() in ("none", "null")
        return None if is_none else given

    def metavar(self) -> str:
        for member in self.types:
            item = _bare(get_args(member)[0]) if get_origin(member) is list else member
            if item in _METAVARS:
                return _METAVARS[item]
        return "NAME"

    def help(self) -> str:
        text = " ".join((self.field.description or "").split())
        required = self.default is PydanticUndefined
        facts = ["required" if required else f"default: {_written(self.default)}"]
        literals = [member for member in self.types if get_origin(member) is Literal]
        choices = [choice for literal in literals for choice in get_args(literal)]
        facts += [f"one of {', '.join(choices)}"] if choices else []
        return f"{text} [{'; '.join(facts)}]".replace("%", "%%")


def _bare(annotation: Any) -> Any:
    """A type without what ``Annotated`` adds to it."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


_METAVARS = {str: "TEXT", bool: "{true,false}", int: "INTEGER", float: "NUMBER"}


def _add_section(
    parser: argparse.ArgumentParser,
    settings_class: type[Settings],
    *,
    title: str,
    path: SettingPath = (),
    prefix: str = "",
    default: Any = PydanticUndefined,
) -> Iterator[_Flag]:
    """Add the flags of a section and of its subsections, one heading per section."""
    group = parser.add_argument_group(title, " ".join((settings_class.__doc__ or "").split()))
    for name, field in settings_class.model_fields.items():
        if section_of(field) is None:
            flag = _Flag((*path, name), prefix + name, field, _default(default, name, field))
            _add_flag(group, flag)
            yield flag
    for name, field in settings_class.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield from _add_section(
                parser,
                inner,
                title=".".join((*path, name)),
                path=(*path, name),
                prefix=prefix if name in settings_class.flat else f"{prefix}{name}.",
                default=_default(default, name, field),
            )


def _add_flag(group: argparse._ArgumentGroup, flag: _Flag) -> None:
    shown, *others = dict.fromkeys(flag.spellings())
    several: dict[str, Any] = {"nargs": "+", "action": "append"} if flag.is_list else {}
    if flag.types == (bool,):
        several = {"nargs": "?", "const": "true"}  # --name alone means true
    several |= {"dest": flag.name, "metavar": flag.metavar()}
    group.add_argument(shown, help=flag.help(), **several)
    if others:
        group.add_argument(*others, help=argparse.SUPPRESS, **several)


def _default(section: Any, name: str, field: FieldInfo) -> Any:
    """The default of a setting: from the default of its section, if that has one, else its own."""
    if section is not PydanticUndefined:
        return getattr(section, name)
    return field.get_default(call_default_factory=True, validated_data={})


def _written(default: Any) -> str:
    """A default value as a user would type it."""
    if default is None or isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dict):
        return json.dumps(default, default=lambda inner: inner.model_dump(mode="json"))
    return str(default)


_ITEM = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*?))\s*(?:,|$)""")
"""An item of a written list: in quotes, or up to the next comma."""


def _items(words: list[str]) -> list[str]:
    """The words themselves, or the items of a single ``[...]``, which is JSON or unquoted."""
    text = words[0]
    if len(words) > 1 or not (text.startswith("[") and text.endswith("]")):
        return words
    try:
        listed = json.loads(text)
    except json.JSONDecodeError:
        listed = []
    if listed and all(isinstance(item, str) for item in listed):
        return list(listed)
    return ["".join(found) for found in _ITEM.findall(text[1:-1]) if any(found)]


def _unknown(words: Iterable[str], known: list[str]) -> Iterator[str]:
    """A message for each unknown flag, and for each word that follows no flag."""
    follows_flag = False
    for word in words:
        if word.startswith("-"):
            flag, equals, _ = word.partition("=")
            follows_flag = not equals
            yield f"{COMMAND_LINE}: {flag} is not a setting; {_near(flag, known)}"
        elif not follows_flag:
            yield (
                f"{COMMAND_LINE}: {word!r} follows no setting: write --SETTING VALUE, with quotes "
                f"around a value that has spaces"
            )


def _near(flag: str, known: list[str]) -> str:
    name = flag.lstrip("-").replace("-", "_")
    ends = [other for other in known if other.endswith(f".{name}")]
    near = [*ends, *difflib.get_close_matches(name, known, n=1)][:1]
    hint = f"did you mean --{near[0].replace('_', '-')}? " if near else ""
    return f"{hint}--help lists all"
