"""Test of whether two models are equally good, within a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from ier_ray.errors import DataError
from ier_ray.evaluation.intervals import Interval
from ier_ray.evaluation.significance import corrected_mean

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a mean difference against a margin."""

    interval: Interval
    """The mean difference and its 90 % interval: inside ±margin, the models are equivalent."""
    margin: float
    p_value: float
    """The larger of both tests'."""

    @property
    def equivalent(self) -> bool:
        """Whether both tests reject at 5 %."""
        return self.p_value < SIGNIFICANCE


def corrected_equivalence_test(
    differences: Sequence[float], *, test_share: float, margin: float
) -> Equivalence:
    """Two one-sided t-tests that the mean difference is above -margin and below margin.

    The variance of the mean is that of the corrected resampled t-test
    (:func:`~ier_ray.evaluation.significance.corrected_resampled_t_test`). A difference that is not
    significant is no evidence of equality; this is.

    Source: D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power
    approach, Journal of Pharmacokinetics and Biopharmaceutics 1987.

    Args:
        differences: of a metric between two models, one per fold and seed.
        test_share: ``n_test / n_train``.
        margin: the largest difference that does not matter, in the metric's unit.

    Raises:
        DataError: when there are fewer than two differences, or ``margin`` or ``test_share`` is
            not positive.
    """
    if not margin > 0:
        raise DataError(f"margin must be > 0, got {margin}")
    mean, error, freedom = corrected_mean(differences, test_share, test="an equivalence test")
    level = 1 - 2 * SIGNIFICANCE
    if error == 0:
        interval = Interval(mean, mean, mean, level)
        return Equivalence(interval, margin, 0.0 if abs(mean) < margin else 1.0)
    above = stats.t.sf((mean + margin) / error, freedom)
    below = stats.t.cdf((mean - margin) / error, freedom)
    reach = error * float(stats.t.ppf(1 - SIGNIFICANCE, freedom))
    return Equivalence(
        Interval(mean, mean - reach, mean + reach, level), margin, float(max(above, below))
    )
