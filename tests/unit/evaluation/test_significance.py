"""Tests equal statsmodels and scipy, and the formulas computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from ier_ray.errors import DataError
from ier_ray.evaluation.significance import corrected_resampled_t_test, holm, mcnemar


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_equals_statsmodels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.random(150) < 0.6, generator.random(150) < 0.5
    table = [[int((own & other).sum()) for other in (second, ~second)] for own in (first, ~first)]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    assert found.p_value == pytest.approx(reference_mcnemar(table, exact=True).pvalue, abs=1e-9)


def test_mcnemar_by_hand() -> None:
    # One model alone is right 5 times, the other never: 2 / 2^5.
    found = mcnemar(np.array([True] * 8), np.array([True] * 3 + [False] * 5))
    assert (found.only_first, found.only_second) == (5, 0)
    assert found.p_value == pytest.approx(2 / 32)
    same = np.array([True, False])
    assert mcnemar(same, same).p_value == 1
    with pytest.raises(DataError, match="have 2 and 3 images"):
        mcnemar(same, np.array([True] * 3))


def test_nadeau_and_bengio_by_hand() -> None:
    # Mean 2, sample variance 1, J = 3, five folds: the variance of the mean is 1/3 + 1/4 = 7/12.
    found = corrected_resampled_t_test([1.0, 2.0, 3.0], test_share=1 / 4)
    error = np.sqrt(7 / 12)
    critical = 4.302652729911275  # of Student's t, 2 degrees of freedom, two-sided 5 %
    assert found.t == pytest.approx(2 / error, abs=1e-12)
    assert found.degrees_of_freedom == 2
    assert found.interval.estimate == 2
    assert found.interval.low == pytest.approx(2 - critical * error, abs=1e-9)
    assert found.interval.high == pytest.approx(2 + critical * error, abs=1e-9)
    statistic = 2 / error  # with 2 degrees of freedom, P(T > t) = 1/2 - t / (2 sqrt(2 + t^2))
    assert found.p_value == pytest.approx(1 - statistic / np.sqrt(2 + statistic**2), abs=1e-9)


def test_without_overlap_it_is_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    reference = stats.ttest_1samp(values, 0)
    interval = reference.confidence_interval(0.9)
    found = corrected_resampled_t_test(values.tolist(), test_share=1e-15, level=0.9)
    assert found.t == pytest.approx(reference.statistic, abs=1e-9)
    assert found.p_value == pytest.approx(reference.pvalue, abs=1e-9)
    assert [found.interval.low, found.interval.high] == pytest.approx(list(interval), abs=1e-9)


def test_equal_differences_need_no_t() -> None:
    found = corrected_resampled_t_test([0.5, 0.5], test_share=0.25)
    assert (found.t, found.p_value) == (None, 0.0)
    assert (found.interval.low, found.interval.high) == (0.5, 0.5)
    assert corrected_resampled_t_test([0.0, 0.0], test_share=0.25).p_value == 1


def test_a_t_test_that_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="two differences or more, got 1"):
        corrected_resampled_t_test([0.5], test_share=0.25)
    with pytest.raises(DataError, match=r"test_share .* must be > 0, got 0"):
        corrected_resampled_t_test([0.5, 1], test_share=0)


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_statsmodels(seed: int) -> None:
    values = np.random.default_rng(seed).random(9) ** 3
    values[3] = values[5]
    reference = multipletests(values, method="holm")[1]
    assert holm(values.tolist()) == pytest.approx(reference.tolist(), abs=1e-9)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
