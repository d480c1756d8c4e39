"""Server-sent events, from the bytes of a stream as they arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ENDS = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""Of lines. A carriage return at the end of what is known may be the first half of one."""


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: str


@dataclass
class EventReader:
    """Collects bytes until they are events.

    ``httpx`` divides text where ``str.splitlines`` does, and the ends of lines that it knows beside
    line feeds may be within JSON.
    """

    _rest: bytes = b""
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, content: bytes) -> Iterator[Event]:
        """The events that end with these bytes; the rest of them is kept."""
        *lines, self._rest = ENDS.split(self._rest + content)
        for line in lines:
            if line:
                self._add(line.decode())
            elif self._data:
                yield Event(self._name or "message", "\n".join(self._data))
            if not line:
                self._name, self._data = "", []

    def _add(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
