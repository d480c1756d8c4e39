"""Games and their coalitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Coalitions = NDArray[np.bool_]
"""``(M, n)``: which of n players belong to each of M coalitions."""
Scores = NDArray[np.float64]
"""``(M, K)``: the worth v(S) of each of M coalitions in K games that are played at once."""
Game = Callable[[Coalitions], Scores]
"""Scores coalitions: ``(M, n)`` to ``(M, K)``."""

MOST_PLAYERS = 20
"""Players whose coalitions can all be listed: about a million."""


def every_coalition(players: int) -> Coalitions:
    """All ``2**players`` coalitions; player i belongs to row r where bit i of r is set.

    Raises:
        ValueError: for more than 20 players.
    """
    if not 1 <= players <= MOST_PLAYERS:
        raise ValueError(
            f"all coalitions can be listed for 1 to {MOST_PLAYERS} players, got {players}; "
            f"use fewer (of an image: a shallower tree)"
        )
    bits: Coalitions = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
    return bits
