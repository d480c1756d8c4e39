"""Which media type a client prefers (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from ier_ray.serve.errors import RefusedError


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type that an ``Accept`` header prefers; of equals the first.

    Raises:
        RefusedError: with status 406 when none of them is acceptable.
    """
    ranges = [_parsed(each) for each in accept.split(",") if each.strip()] or [("*/*", 1.0)]
    quality = {each: _quality(each, ranges) for each in offered}
    best = max(offered, key=lambda each: quality[each])
    if quality[best] <= 0:
        raise RefusedError(
            406, "not_acceptable", f"accept: {accept!r} has none of {', '.join(offered)}"
        )
    return best


def _parsed(text: str) -> tuple[str, float]:
    """A media range and its quality; a quality that is no number counts as 0."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return media, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """By the most specific range that contains the type."""
    whole, kind = media_type, f"{media_type.partition('/')[0]}/*"
    for wanted in (whole, kind, "*/*"):
        found = [quality for media, quality in ranges if media == wanted]
        if found:
            return max(found)
    return 0.0
