"""Which image is in which of a network's places."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable


class Places:
    """Numbered places for images, each in use by any number of explanations.

    An image stays in its place when nobody uses it, until another one needs the place: then the
    image used longest ago goes.
    """

    def __init__(self, count: int) -> None:
        self._free = list(range(count))[::-1]
        self._place: OrderedDict[Hashable, int] = OrderedDict()
        self._users: Counter[Hashable] = Counter()

    def take(self, image: Hashable) -> tuple[int, bool] | None:
        """Use the image's place: its number, and whether the image must be put there first.

        None if all places are in use.
        """
        is_new = image not in self._place
        if is_new:
            number = self._vacated()
            if number is None:
                return None
            self._place[image] = number
        self._place.move_to_end(image)
        self._users[image] += 1
        return self._place[image], is_new

    def leave(self, image: Hashable) -> None:
        """End a use of :meth:`take`."""
        self._users[image] -= 1

    def forget(self, image: Hashable) -> None:
        """Free the place of an image that could not be put there."""
        self._free.append(self._place.pop(image))
        del self._users[image]

    def _vacated(self) -> int | None:
        if self._free:
            return self._free.pop()
        for image in self._place:
            if not self._users[image]:
                del self._users[image]
                return self._place.pop(image)
        return None
