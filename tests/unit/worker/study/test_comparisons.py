"""Tests of pairs of arms against sums over all outcomes, and by how often they err where there is no difference."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.study.comparisons import Comparison, compare

SEEDS = st.integers(0, 2**32 - 1)
STUDIES = 300


def binomial(only_first: int, only_second: int) -> float:
    """McNemar's exact test: of so many images, as few or fewer for the weaker arm, on both sides."""
    images = only_first + only_second
    tail = sum(comb(images, each) for each in range(min(only_first, only_second) + 1)) / 2**images
    return min(1.0, 2 * tail)


def by_enumeration(gains: list[int]) -> float:
    """Every way of exchanging the arms of patients: the share with a difference as large or larger, either way."""
    totals = [abs(sum(signed)) for signed in product(*((-gain, gain) for gain in gains))]
    return float(np.mean([total >= abs(sum(gains)) for total in totals]))


def holm(p_values: list[float]) -> list[float]:
    """Holm 1979: the smallest times their number, the next times one less, and so on, never falling, at most 1."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def arms_of(right: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """Predictions of two arms, right where they shall be: the truth is class 1 throughout."""
    return {name: row.astype(np.int64) for name, row in zip("ab", right, strict=True)}


def test_ten_images_on_which_the_arms_differ() -> None:
    # The one has 1 right and the other 9: 2 (1 + 10) / 2^10.
    right = np.ones((2, 50), np.bool_)
    right[0, :9] = False
    right[1, 9] = False
    (found,) = compare(np.ones(50, np.int64), arms_of(right), np.arange(50), pairs=[("a", "b")], seed=0)
    assert found == Comparison("a", "b", pytest.approx(0.16), pytest.approx(22 / 1024), found.p_value, "mcnemar")


@settings(max_examples=25)
@given(seed=SEEDS, images=st.integers(1, 40), classes=st.integers(2, 4))
def test_mcnemar_is_the_binomial_sum_and_holm_is_by_hand(seed: int, images: int, classes: int) -> None:
    truth, *rows = np.random.default_rng(seed).integers(0, classes, (4, images))
    arms = dict(zip("abc", rows, strict=True))
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    found = compare(truth, arms, np.arange(images), pairs=pairs, seed=0)
    for each, (first, second) in zip(found, pairs, strict=True):
        only_first = int(((arms[first] == truth) & (arms[second] != truth)).sum())
        only_second = int(((arms[first] != truth) & (arms[second] == truth)).sum())
        assert (each.first, each.second, each.test) == (first, second, "mcnemar")
        assert each.difference == pytest.approx((only_second - only_first) / images)
        assert each.p_value == pytest.approx(binomial(only_first, only_second))
    assert [each.adjusted_p_value for each in found] == pytest.approx(holm([each.p_value for each in found]))


@settings(max_examples=25)
@given(seed=SEEDS, patients=st.integers(1, 9), most=st.integers(2, 5))
def test_of_few_patients_every_permutation_is_taken(seed: int, patients: int, most: int) -> None:
    generator = np.random.default_rng(seed)
    whose = np.repeat(np.arange(patients), generator.integers(1, most + 1, patients))
    whose = np.append(whose, 0)  # at least one has two images
    right = generator.random((2, len(whose))) < 0.6
    (found,) = compare(np.ones(len(whose), np.int64), arms_of(right), whose, pairs=[("a", "b")], seed=seed)
    gains = [int(right[1, whose == each].sum()) - int(right[0, whose == each].sum()) for each in range(patients)]
    assert found.test == "permutation"
    assert found.difference == pytest.approx(sum(gains) / len(whose))
    assert found.p_value == pytest.approx(by_enumeration(gains))


def test_of_many_patients_a_sample_of_permutations_comes_near() -> None:
    generator = np.random.default_rng(1)
    whose = np.repeat(np.arange(200), 2)
    right = generator.random((2, 400)) < np.array([[0.75], [0.82]])
    (found,) = compare(np.ones(400, np.int64), arms_of(right), whose, pairs=[("a", "b")], seed=0)
    gains = np.bincount(whose, right[1].astype(int) - right[0].astype(int)).astype(int)
    # The exact distribution of the sum, a patient at a time.
    distribution = np.zeros(2 * 400 + 1)
    distribution[400] = 1
    for gain in gains:
        distribution = (np.roll(distribution, gain) + np.roll(distribution, -gain)) / 2
    exact = distribution[np.abs(np.arange(-400, 401)) >= abs(gains.sum())].sum()
    assert 0.001 < exact < 0.5
    assert found.p_value == pytest.approx(exact, abs=6 * np.sqrt(exact / 10_000))


def test_both_tests_agree_on_patients_with_one_image_that_counts() -> None:
    right = np.random.default_rng(2).random((2, 20)) < np.array([[0.5], [0.8]])
    truth = np.ones(20, np.int64)
    (single,) = compare(truth, arms_of(right), np.arange(20), pairs=[("a", "b")], seed=0)
    # One more image of patient 0, that both have right, asks for the other test and changes nothing in it.
    more = np.column_stack([right, [True, True]])
    (grouped,) = compare(np.ones(21, np.int64), arms_of(more), np.append(np.arange(20), 0), pairs=[("a", "b")], seed=0)
    assert (single.test, grouped.test) == ("mcnemar", "permutation")
    assert grouped.p_value == pytest.approx(single.p_value)


@pytest.mark.parametrize("images_each", [1, 3])
def test_exchanging_two_arms_turns_the_difference_alone(images_each: int) -> None:
    generator = np.random.default_rng(3)
    whose = np.repeat(np.arange(60), images_each)
    truth, *rows = generator.integers(0, 2, (3, len(whose)))
    arms = dict(zip("ab", rows, strict=True))
    (one,) = compare(truth, arms, whose, pairs=[("a", "b")], seed=5)
    (other,) = compare(truth, arms, whose, pairs=[("b", "a")], seed=5)
    assert (other.first, other.difference) == (one.second, -one.difference)
    assert other.p_value == one.p_value
    shuffled = generator.permutation(len(whose))
    arms = {name: codes[shuffled] for name, codes in arms.items()}
    (again,) = compare(truth[shuffled], arms, whose[shuffled] * 10, pairs=[("a", "b")], seed=5)
    assert again == one


def test_a_pair_does_not_change_what_is_found_of_another() -> None:
    whose = np.repeat(np.arange(40), 2)
    truth, *rows = np.random.default_rng(4).integers(0, 2, (4, 80))
    arms = dict(zip("abc", rows, strict=True))
    alone, *_ = compare(truth, arms, whose, pairs=[("b", "c")], seed=0)
    _, among = compare(truth, arms, whose, pairs=[("a", "b"), ("b", "c")], seed=0)
    assert among.p_value == alone.p_value
    assert alone.adjusted_p_value == alone.p_value
    assert compare(truth, arms, whose, pairs=[], seed=0) == ()


@pytest.mark.parametrize("images_each", [1, 4], ids=["mcnemar", "permutation"])
def test_equal_arms_are_told_apart_one_time_in_twenty(images_each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.study.comparisons.PERMUTATIONS", 199)
    generator = np.random.default_rng(6)
    whose = np.repeat(np.arange(40), images_each)
    truth = np.ones(len(whose), np.int64)
    # A patient is easy or hard for an arm as a whole: the images of one are not independent.
    chances = generator.choice([0.2, 0.9], (2 * STUDIES, 40))[:, whose]
    arms = {str(name): row.astype(np.int64) for name, row in enumerate(generator.random(chances.shape) < chances)}
    pairs = [(str(2 * study), str(2 * study + 1)) for study in range(STUDIES)]
    found = compare(truth, arms, whose, pairs=pairs, seed=0)
    alarms = np.mean([each.p_value <= 0.05 for each in found])
    error = 3 * np.sqrt(0.05 * 0.95 / STUDIES)
    assert alarms < 0.05 + error
    if images_each > 1:  # McNemar's exact test is known to be wary where few images differ
        assert alarms > 0.05 - error
        # McNemar's test would take a patient's four images for four witnesses.
        single = compare(truth, arms, np.arange(len(whose)), pairs=pairs, seed=0)
        assert np.mean([each.p_value <= 0.05 for each in single]) > 0.05 + 2 * error


def test_arms_that_are_never_apart_do_not_differ() -> None:
    truth = np.array([0, 1, 1, 0])
    for patients in (np.arange(4), np.array([0, 0, 1, 1])):
        (found,) = compare(truth, {"a": truth, "b": truth}, patients, pairs=[("a", "b")], seed=0)
        assert (found.difference, found.p_value, found.adjusted_p_value) == (0.0, 1.0, 1.0)


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2018)
    right = generator.random((2, 90)) < np.array([[0.6], [0.75]])
    (found,) = compare(np.ones(90, np.int64), arms_of(right), np.arange(90) // 3, pairs=[("a", "b")], seed=7)
    assert (found.difference, found.p_value) == pytest.approx((12 / 90, 0.0806))


@pytest.mark.parametrize(("images", "arm", "patients"), [(0, 0, 0), (3, 2, 3), (3, 3, 4)])
def test_arms_are_of_the_same_images(images: int, arm: int, patients: int) -> None:
    zeros = [np.zeros(each, np.int64) for each in (images, arm, images)]
    with pytest.raises(ValueError, match="of the same images"):
        compare(zeros[0], {"a": zeros[1], "b": zeros[2]}, np.arange(patients), pairs=[("a", "b")], seed=0)
