"""Server-sent events from pieces of a stream."""

from __future__ import annotations

import pytest

from ier_ray.client.events import Event, EventReader

STREAM = (
    b'event: level\ndata: {"a": 1}\n\n'
    b": a comment\r\nid: 3\r\nevent:level\r\ndata:first\r\ndata: second\r\n\r\n"
    b"data: \xe2\x80\xa8 within \xc3\xa9\r\r"
    b"event: nothing\n\n"
    b"data: last\n\n"
)
EVENTS = [
    Event("level", '{"a": 1}'),
    Event("level", "first\nsecond"),
    Event("message", "\u2028 within é"),
    Event("message", "last"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_events_do_not_depend_on_how_they_arrive(size: int) -> None:
    reader = EventReader()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS


def test_an_event_that_has_not_ended_is_kept() -> None:
    reader = EventReader()
    assert list(reader.feed(b"event: level\ndata: x\n")) == []
    assert list(reader.feed(b"\n")) == [Event("level", "x")]
