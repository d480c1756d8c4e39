"""A Gaussian-process prior over games.

Write a coalition as signs s ∈ {−1, 1}ⁿ. Shapley values depend on a game only through its odd
part, ``(v(S) − v(Sᶜ)) / 2``: one number for each pair of complementary coalitions. Its prior
covariance is

    k(s, t) = ⟨s, t⟩/n + σ² · sinh(γ⟨s, t⟩) / sinh(γn),        γ = 1/(nℓ²)

The first term is an additive game. The second is the odd part of a Gaussian kernel of length scale
ℓ√n on the signs; it holds interactions of every odd order. As
``exp(γ⟨s, t⟩) = cosh(γ)ⁿ · ∏ (1 + τ sᵢtᵢ)`` with τ = tanh γ, the Shapley values of a function
``k(·, t)`` are one-dimensional integrals of polynomials, which quadrature gives exactly:

    φᵢ = 2tᵢ/n + σ²/sinh(γn) · cosh(γ)ⁿ · τtᵢ · ∫₋₁¹ ∏ⱼ≠ᵢ (1 + τxtⱼ) dx
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OddKernel:
    """The covariance of the module's first formula.

    Attributes:
        players: number of players n.
        interaction_variance: σ², the variance of the interactions; that of the additive game is 1.
        length_scale: ℓ, in units of √n: half the distance between a coalition and its complement.
            Larger means interactions of fewer players at once.
    """

    players: int
    interaction_variance: float
    length_scale: float

    def covariance(self, first: Floats, second: Floats) -> Floats:
        """``(M, L)`` of signs ``(M, n)`` and ``(L, n)``."""
        overlap = first @ second.T / self.players
        interactions = np.sinh(self._rate * overlap) / np.sinh(self._rate)
        total: Floats = overlap + self.interaction_variance * interactions
        return total

    def shapley_covariance(self, signs: Floats) -> Floats:
        """Covariance ``(n, M)`` of every Shapley value with the odd part at signs ``(M, n)``."""
        members = np.rint((signs.sum(1) + self.players) / 2)
        belonging = self._integral(members - 1, self.players - members)
        absent = -self._integral(members, self.players - members - 1)
        interacting: Floats = np.where(signs.T > 0, belonging, absent)
        return 2 * signs.T / self.players + interacting

    @cached_property
    def shapley_variance(self) -> float:
        """Prior variance of one Shapley value."""
        nodes, weights = self._quadrature
        products = (1 + self._tau * np.outer(nodes, nodes)) ** (self.players - 1)
        return 4 / self.players + self._scale * float(weights @ products @ weights)

    def _integral(self, alike: Floats, opposed: Floats) -> Floats:
        """∫ (1 + τx)^alike (1 − τx)^opposed dx, scaled; ``(M,)``. Powers below 0 count as 0."""
        nodes, weights = self._quadrature
        powers = (1 + self._tau * nodes[:, None]) ** np.maximum(alike, 0)
        powers *= (1 - self._tau * nodes[:, None]) ** np.maximum(opposed, 0)
        total: Floats = self._scale * (weights @ powers)
        return total

    @cached_property
    def _rate(self) -> float:
        """γn."""
        return self.length_scale**-2

    @cached_property
    def _tau(self) -> float:
        return float(np.tanh(self._rate / self.players))

    @cached_property
    def _scale(self) -> float:
        growth = np.cosh(self._rate / self.players) ** self.players
        return float(self.interaction_variance * growth * self._tau / np.sinh(self._rate))

    @cached_property
    def _quadrature(self) -> tuple[Floats, Floats]:
        """Gauss-Legendre nodes and weights, exact for polynomials of degree n − 1."""
        nodes, weights = np.polynomial.legendre.leggauss(self.players // 2 + 1)
        return nodes, weights
