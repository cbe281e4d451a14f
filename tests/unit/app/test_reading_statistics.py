"""Shares, agreement and detectability against formulas of their papers, written once more."""

import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]  # it ships no types

from app.reading_statistics import cohen_kappa, d_prime, fleiss_kappa, share

NORMAL = NormalDist()
Z = NORMAL.inv_cdf(0.975)


def answers(right, of):
    return np.arange(of) < right


@pytest.mark.parametrize(("right", "of"), [(0, 20), (7, 20), (20, 20), (50, 80)])
def test_a_share_has_wilson_s_interval(right, of):
    found = share(answers(right, of))
    p = right / of
    centre = (p + Z**2 / (2 * of)) / (1 + Z**2 / of)
    half = Z / (1 + Z**2 / of) * np.sqrt(p * (1 - p) / of + Z**2 / (4 * of**2))
    assert (found.value, found.of) == (p, of)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_of_nothing_there_is_no_share_and_no_detectability():
    nothing = answers(0, 0)
    assert share(nothing).model_dump() == {"value": None, "low": None, "high": None, "of": 0}
    assert d_prime(nothing, answers(1, 2)).value is None
    assert d_prime(answers(1, 2), nothing).value is None


@pytest.mark.parametrize(("hits", "false_alarms"), [(40, 10), (25, 25), (50, 0), (10, 40)])
def test_detectability_is_the_distance_of_corrected_rates(hits, false_alarms):
    found = d_prime(answers(hits, 50), answers(false_alarms, 50))
    rates = [(count + 0.5) / 51 for count in (hits, false_alarms)]
    points = [NORMAL.inv_cdf(rate) for rate in rates]
    variance = sum(rate * (1 - rate) / (50 * NORMAL.pdf(point) ** 2) for rate, point in zip(rates, points, strict=True))
    assert found.value == pytest.approx(points[0] - points[1])
    assert (found.high - found.low) / 2 == pytest.approx(Z * np.sqrt(variance))


def test_the_interval_of_detectability_holds_what_it_should():
    chance = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = d_prime(chance.random(50) < NORMAL.cdf(1.0), chance.random(50) < NORMAL.cdf(-0.5))
        covered += found.low <= 1.5 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_kappa_is_cohen_s_and_1_where_two_are_of_one_mind():
    chance = np.random.default_rng(1)
    some, others = chance.integers(0, 3, (2, 60))
    found = cohen_kappa(some, others, 3)
    assert found.value == pytest.approx(cohen_kappa_score(some, others))
    assert found.low < found.value < found.high
    assert cohen_kappa(some, some, 3).value == 1
    assert cohen_kappa(np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]), 2).value == -1


@pytest.mark.parametrize("categories", [2, 3, 5])
def test_kappa_has_an_interval_however_one_sided_the_answers_are(categories):
    chance = np.random.default_rng(2)
    for _ in range(200):
        # Some answers are hardly given, or never.
        some, others = (chance.choice(categories, 20, p=chance.dirichlet(np.full(categories, 0.2))) for _ in range(2))
        found = cohen_kappa(some, others, categories)
        if found.value is not None:
            assert -1 <= found.low <= found.value <= found.high <= 1


def test_where_all_say_one_thing_agreement_says_nothing():
    always = np.zeros(20, np.int64)
    assert cohen_kappa(always, always, 2).value is None
    assert fleiss_kappa([always, always], 2) is None
    assert cohen_kappa(always, np.arange(20) % 2, 2).value == 0


def test_fleiss_kappa_is_that_of_fleiss():
    # The worked example of Fleiss 1971 as Wikipedia has it: 14 readers, 10 subjects, 5 categories.
    votes = [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
    told = np.array([np.repeat(np.arange(5), each) for each in votes]).T
    assert fleiss_kappa(list(told), 5) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa(list(told[:1]), 5) is None


def test_a_front_end_starts_without_what_computes_this():
    program = "import sys, app.main; print(sorted({'scipy', 'statsmodels', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
