"""Two one-sided tests, beside statsmodels and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from ier_ray.errors import DataError
from ier_ray.evaluation.equivalence import corrected_equivalence_test

UNCORRECTED = 1e-12
"""A share at which the correction vanishes."""


@pytest.mark.parametrize("seed", range(5))
def test_without_correction_it_is_the_classical_test(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.002, 0.01, 12)
    found = corrected_equivalence_test(differences.tolist(), test_share=UNCORRECTED, margin=0.01)
    expected, _, _ = DescrStatsW(differences).ttost_mean(-0.01, 0.01)
    assert found.p_value == pytest.approx(expected, rel=1e-6)
    low, high = DescrStatsW(differences).tconfint_mean(alpha=0.1)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), rel=1e-6)


def test_it_rejects_exactly_where_the_interval_is_inside_the_margin() -> None:
    generator = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        differences = generator.normal(0, 0.006, 10).tolist()
        found = corrected_equivalence_test(differences, test_share=0.25, margin=0.01)
        inside = found.interval.low > -0.01 and found.interval.high < 0.01
        assert found.equivalent == inside
        outcomes.add(inside)
    assert outcomes == {True, False}


def test_by_hand() -> None:
    # mean 0.01, variance 0.0002; of two with share 0.5: (1/2 + 1/2) * 0.0002; t has one degree of
    # freedom, whose upper tail at x is 1/2 - atan(x) / pi.
    found = corrected_equivalence_test([0.0, 0.02], test_share=0.5, margin=0.05)
    error = np.sqrt(0.0002)
    above, below = (0.5 - np.arctan(x / error) / np.pi for x in (0.06, 0.04))
    assert found.p_value == pytest.approx(max(above, below))


def test_equal_differences() -> None:
    equal = corrected_equivalence_test([0.005] * 3, test_share=0.25, margin=0.01)
    assert equal.equivalent
    apart = corrected_equivalence_test([0.02] * 3, test_share=0.25, margin=0.01)
    assert apart.p_value == 1.0


@pytest.mark.parametrize(
    ("differences", "share", "margin", "told"),
    [
        ([0.1], 0.25, 0.01, "two differences or more, got 1"),
        ([0.1, 0.2], 0.25, 0.0, "margin must be > 0"),
        ([0.1, 0.2], 0.0, 0.01, "test_share is n_test / n_train"),
    ],
)
def test_refusals(differences: list[float], share: float, margin: float, told: str) -> None:
    with pytest.raises(DataError, match=told):
        corrected_equivalence_test(differences, test_share=share, margin=margin)
