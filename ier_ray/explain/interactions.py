"""What is believed of a game before it is played: a Gaussian process over coalitions.

Write a coalition as signs s ∈ {−1, 1}ⁿ. Shapley values depend on a game only through its odd
part, ``(v(S) − v(Sᶜ)) / 2``: one number for each pair of complementary coalitions. It is drawn
with the covariance

    k(s, t) = ⟨s, t⟩/n + share · sinh(γ⟨s, t⟩) / sinh(γn),        γ = reach/n

The first term is an additive game, the second holds interactions of every odd order. As
``exp(γ⟨s, t⟩) = cosh(γ)ⁿ · ∏ (1 + τ sᵢtᵢ)`` with τ = tanh γ, the Shapley values of a function
``k(·, t)`` are one-dimensional integrals of polynomials, which quadrature gives exactly:

    φᵢ = 2tᵢ/n + share/sinh(reach) · cosh(γ)ⁿ · τtᵢ · ∫₋₁¹ ∏ⱼ≠ᵢ (1 + τxtⱼ) dx
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OddPrior:
    """The covariance above.

    Attributes:
        players: number of regions n.
        share: variance of the interactions beside that of the additive game.
        reach: larger means interactions of more regions at once.
    """

    players: int
    share: float
    reach: float

    def covariance(self, first: Floats, second: Floats) -> Floats:
        """``(M, L)`` of signs ``(M, n)`` and ``(L, n)``."""
        overlap = first @ second.T / self.players
        together: Floats = overlap + self.share * np.sinh(self.reach * overlap) / np.sinh(
            self.reach
        )
        return together

    def shapley(self, signs: Floats) -> Floats:
        """Covariance ``(n, M)`` of every Shapley value with the odd part at signs ``(M, n)``."""
        shown = np.rint((signs.sum(1) + self.players) / 2)
        alike = self._integral(shown - 1, self.players - shown)
        opposed = -self._integral(shown, self.players - shown - 1)
        interacting: Floats = np.where(signs.T > 0, alike, opposed)
        return 2 * signs.T / self.players + interacting

    @cached_property
    def variance(self) -> float:
        """Prior variance of one Shapley value."""
        nodes, weights = self._quadrature
        products = (1 + self._tau * np.outer(nodes, nodes)) ** (self.players - 1)
        return 4 / self.players + self._scale * float(weights @ products @ weights)

    def _integral(self, alike: Floats, opposed: Floats) -> Floats:
        """∫ (1 + τx)^alike (1 − τx)^opposed dx, scaled; ``(M,)``. Unused where a power is −1."""
        nodes, weights = self._quadrature
        powers = (1 + self._tau * nodes[:, None]) ** np.maximum(alike, 0)
        powers *= (1 - self._tau * nodes[:, None]) ** np.maximum(opposed, 0)
        total: Floats = self._scale * (weights @ powers)
        return total

    @cached_property
    def _tau(self) -> float:
        return float(np.tanh(self.reach / self.players))

    @cached_property
    def _scale(self) -> float:
        growth = np.cosh(self.reach / self.players) ** self.players
        return float(self.share * growth * self._tau / np.sinh(self.reach))

    @cached_property
    def _quadrature(self) -> tuple[Floats, Floats]:
        """Exact for polynomials of degree n − 1."""
        nodes, weights = np.polynomial.legendre.leggauss(self.players // 2 + 1)
        return nodes, weights
