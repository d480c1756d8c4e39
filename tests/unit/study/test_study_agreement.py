"""Agreement of annotators: hand-computed cases, and independent references on random data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as reference_fleiss

from ier_ray.errors import SettingsError
from ier_ray.study.agreement import (
    TIE,
    ShareOf,
    agreement,
    cohen_kappa,
    count_votes,
    counts_of_percentage,
    fleiss_kappa,
    krippendorff_alpha,
    majority,
)


def random_labels(seed: int, images: int = 40, annotators: int = 4, classes: int = 5) -> np.ndarray:
    """Annotators who know something of a truth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=(images, 1))
    noise = generator.integers(classes, size=(images, annotators))
    return np.where(generator.random((images, annotators)) < 0.6, truth, noise)


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_their_references(seed: int) -> None:
    labels = random_labels(seed)
    names = ("Ann", "Bo", "Cy", "Di")
    found = agreement(labels, names, 5)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    tables = [
        np.histogram2d(labels[:, i], labels[:, j], bins=[np.arange(6), np.arange(6)])[0]
        for i, j in pairs
    ]
    kappas = [cohens_kappa(table).kappa for table in tables]
    given = [found.cohen[names[i]][names[j]] for i, j in pairs]
    assert_allclose(np.array(given, dtype=float), kappas, atol=1e-12)
    assert found.mean_cohen == pytest.approx(np.mean(kappas), abs=1e-12)
    assert found.fleiss == pytest.approx(reference_fleiss(count_votes(labels, 5)), abs=1e-12)
    assert found.krippendorff == pytest.approx(alpha_by_coincidences(labels, 5), abs=1e-12)
    assert_allclose(found.observed, np.mean([(np.trace(table) / 40) for table in tables]))


def alpha_by_coincidences(labels: np.ndarray, classes: int) -> float:
    """Krippendorff's alpha, as defined: from the matrix of coincidences within images."""
    coincidences = np.zeros((classes, classes))
    for row in labels:
        for i, one in enumerate(row):
            for j, other in enumerate(row):
                if i != j:
                    coincidences[one, other] += 1 / (len(row) - 1)
    totals, n = coincidences.sum(1), coincidences.sum()
    disagreement = 1 - np.trace(coincidences) / n
    expected = 1 - (totals * (totals - 1)).sum() / (n * (n - 1))
    return float(1 - disagreement / expected)


def test_figures_computed_by_hand() -> None:
    # Two raters, 10 images: 7 agreements; rater one has 5 of each class, rater two 6 and 4.
    one = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    two = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0])
    chance = 0.5 * 0.6 + 0.5 * 0.4
    assert cohen_kappa(one, two, 2) == pytest.approx((0.7 - chance) / (1 - chance))
    # Fleiss: pairs agree in 7 of 10 images; the classes have 11 and 9 of 20 votes.
    expected = (11 / 20) ** 2 + (9 / 20) ** 2
    votes = count_votes(np.stack([one, two], axis=1), 2)
    assert fleiss_kappa(votes) == pytest.approx((0.7 - expected) / (1 - expected))
    # Alpha: 6 of 20 coincidences disagree; 2 * 11 * 9 / 19 would by chance.
    alpha = krippendorff_alpha(np.stack([one, two], axis=1), 2)
    assert alpha == pytest.approx(1 - 6 / (2 * 11 * 9 / 19))


def test_perfect_agreement_is_one_and_annotators_may_be_permuted() -> None:
    labels = np.repeat(np.arange(4)[:, None], 3, axis=1)
    found = agreement(labels, ("a", "b", "c"), 4)
    assert found.mean_cohen == found.fleiss == found.krippendorff == found.observed == 1
    labels = random_labels(3)
    first = agreement(labels, ("a", "b", "c", "d"), 5)
    second = agreement(labels[::-1, [2, 0, 3, 1]], ("a", "b", "c", "d"), 5)
    assert first.fleiss == pytest.approx(second.fleiss)
    assert first.mean_cohen == pytest.approx(second.mean_cohen)
    assert first.krippendorff == pytest.approx(second.krippendorff)


def test_what_chance_leaves_undefined_is_none() -> None:
    labels = np.zeros((5, 3), dtype=np.int64)
    found = agreement(labels, ("a", "b", "c"), 4)
    assert found.mean_cohen is found.fleiss is found.krippendorff is None
    assert found.observed == 1
    labels[0, 0] = 1  # b and c still agree on one class alone
    found = agreement(labels, ("a", "b", "c"), 4)
    assert found.cohen["b"]["c"] is None
    assert found.mean_cohen == cohen_kappa_score(labels[:, 0], labels[:, 1])


def test_majority_and_ties() -> None:
    labels = np.array([[0, 0, 1], [0, 1, 2], [3, 3, 3], [2, 1, 1]])
    found = majority(labels, 4)
    assert found.labels.tolist() == [0, TIE, 3, 1]
    assert found.decided.tolist() == [True, False, True, True]
    assert found.votes.tolist() == [[2, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 3], [0, 2, 1, 0]]


def test_shares_say_what_they_are_of() -> None:
    share = ShareOf.counted(39, 50)
    assert share is not None
    assert (share.count, share.of, share.percent) == (39, 50, 78)
    assert counts_of_percentage(f"{share.percent:.1f}", share.of) == [39]
    assert ShareOf.counted(0, 0) is None


@pytest.mark.parametrize(
    ("printed", "of", "counts"),
    [
        ("78", 50, [39]),
        ("78.00", 50, [39]),
        ("77", 50, []),
        ("78.5 %", 100, []),
        ("33.3", 3, [1]),
        ("66.7", 3, [2]),
        ("66.6", 3, [2]),  # cut off, not rounded
        ("66.65", 3, []),
        ("0", 7, [0]),
        ("100", 7, [7]),
        ("50", 250, [124, 125, 126, 127]),  # 49.6, 50, 50.4 and, cut off, 50.8
    ],
)
def test_percentages_are_shares_of_a_count(printed: str, of: int, counts: list[int]) -> None:
    assert counts_of_percentage(printed, of) == counts


@pytest.mark.parametrize("printed", ["much", "", "-1", "101", "nan", "inf"])
def test_what_is_no_percentage_is_refused(printed: str) -> None:
    with pytest.raises(SettingsError, match="must be numbers from 0 to 100"):
        counts_of_percentage(printed, 50)
