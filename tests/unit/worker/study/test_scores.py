"""Scores against their definitions, an image or pair at a time; intervals by how often they hold the truth."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from worker.study import scores
from worker.study.folds import Codes
from worker.study.scores import Interval, Likely, Scores, chosen_threshold, decided, score

SEEDS = st.integers(0, 2**32 - 1)


def probabilities(seed: int, images: int, classes: int, levels: int = 5) -> Likely:
    """Of few levels, so that many are equal."""
    likely = np.random.default_rng(seed).integers(1, 1 + levels, (images, classes)).astype(np.float64)
    return likely / likely.sum(axis=1, keepdims=True)


def of_two(second: list[float]) -> Likely:
    return np.column_stack([1 - np.array(second), second])


def by_pairs(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Hanley & McNeil 1982: how often a positive image is before a negative one, half where they are level."""
    return float(np.mean([(one > other) + (one == other) / 2 for one, other in product(positive, negative)]))


def estimates(found: Scores) -> list[float | None]:
    intervals = (found.accuracy, found.balanced_accuracy, found.auc, *found.sensitivity, *found.specificity)
    return [None if each is None else each.estimate for each in intervals]


@settings(max_examples=60)
@given(seed=SEEDS, images=st.integers(1, 30), classes=st.integers(2, 4))
def test_they_are_those_of_the_definitions(seed: int, images: int, classes: int) -> None:
    truth = np.random.default_rng(seed).integers(0, classes, images)
    likely = probabilities(seed, images, classes)
    found = score(truth, likely, np.arange(images), seed=0, resamples=3)
    taken = [max(range(classes), key=lambda code: (row[code], -code)) for row in likely.tolist()]
    pairs = list(zip(truth.tolist(), taken, strict=True))
    assert found.accuracy.estimate == pytest.approx(np.mean([true == told for true, told in pairs]))
    detected = []
    aucs = []
    for code in range(classes):
        inside = [told == code for true, told in pairs if true == code]
        outside = [told != code for true, told in pairs if true != code]
        for found_interval, expected in ((found.sensitivity[code], inside), (found.specificity[code], outside)):
            if expected:
                assert found_interval is not None
                assert found_interval.estimate == pytest.approx(np.mean(expected))
            else:
                assert found_interval is None
        if inside:
            detected.append(np.mean(inside))
        if inside and outside:
            aucs.append(by_pairs(likely[truth == code, code], likely[truth != code, code]))
    assert found.balanced_accuracy.estimate == pytest.approx(np.mean(detected))
    if aucs:
        assert found.auc is not None
        # Of two classes, both are the same.
        assert found.auc.estimate == pytest.approx(np.mean(aucs))
    else:
        assert found.auc is None
    counted = [[pairs.count((true, told)) for told in range(classes)] for true in range(classes)]
    assert found.confusion == tuple(map(tuple, counted))


@pytest.mark.parametrize("classes", [2, 3])
def test_they_are_scikit_learns(classes: int) -> None:
    truth = np.random.default_rng(0).integers(0, classes, 300)
    likely = probabilities(1, 300, classes, levels=50)
    found = score(truth, likely, np.arange(300), seed=0, resamples=2)
    assert found.auc is not None
    assert found.balanced_accuracy.estimate == pytest.approx(balanced_accuracy_score(truth, likely.argmax(axis=1)))
    expected = roc_auc_score(truth, likely[:, 1] if classes == 2 else likely, multi_class="ovr", average="macro")
    assert found.auc.estimate == pytest.approx(expected)


@settings(max_examples=60)
@given(seed=SEEDS, images=st.integers(1, 30), classes=st.integers(2, 4), folds=st.integers(1, 4))
def test_the_auc_is_that_of_the_pairs_within_a_fold(seed: int, images: int, classes: int, folds: int) -> None:
    generator = np.random.default_rng(seed)
    truth, where = generator.integers(0, classes, images), generator.integers(0, folds, images)
    likely = probabilities(seed, images, classes)
    found = score(truth, likely, np.arange(images), folds=where, seed=0, resamples=2)
    aucs = []
    for code in range(classes):
        won = [
            (likely[one, code] > likely[other, code]) + (likely[one, code] == likely[other, code]) / 2
            for one, other in product(range(images), repeat=2)
            if truth[one] == code != truth[other] and where[one] == where[other]
        ]
        aucs += [np.mean(won)] if won else []
    if aucs:
        assert found.auc is not None
        assert found.auc.estimate == pytest.approx(np.mean(aucs))
    else:
        assert found.auc is None


def test_folds_of_another_scale_do_not_change_the_auc() -> None:
    generator = np.random.default_rng(6)
    truth, folds, whose = generator.integers(0, 2, 600), np.arange(600) % 3, np.arange(600) // 3
    logits = generator.normal(size=600) + 1.8 * truth
    one_scale, other_scales = (
        of_two((1 / (1 + np.exp(-each))).tolist()) for each in (logits, logits + np.array([0, 1, -2])[folds])
    )
    found = score(truth, one_scale, whose, folds=folds, seed=0)
    assert score(truth, other_scales, whose, folds=folds, seed=0).auc == found.auc
    mixed = score(truth, other_scales, whose, seed=0)
    assert found.auc is not None
    assert mixed.auc is not None
    assert mixed.auc.high < found.auc.estimate


def test_of_one_fold_it_is_the_usual_auc() -> None:
    truth, likely, whose = np.arange(50) % 3, probabilities(5, 50, 3), np.arange(50) // 2
    assert score(truth, likely, whose, folds=np.full(50, 4), seed=1) == score(truth, likely, whose, seed=1)


@settings(max_examples=15)
@given(
    seed=SEEDS,
    images=st.integers(1, 12),
    patients=st.integers(1, 6),
    classes=st.integers(2, 3),
    folds=st.integers(1, 2),
)
def test_an_interval_is_that_of_the_scores_of_the_resampled_patients(
    seed: int, images: int, patients: int, classes: int, folds: int
) -> None:
    generator = np.random.default_rng(seed)
    truth, whose = generator.integers(0, classes, images), generator.integers(0, patients, images)
    likely, where = probabilities(seed, images, classes), whose % folds
    found = score(truth, likely, whose, folds=where, seed=seed, resamples=25)
    chance = np.random.default_rng(seed)
    groups = [np.flatnonzero(whose == each) for each in np.unique(whose)]
    lows, highs, lacking = [], [], 0
    for _ in range(25):
        rows = np.concatenate([groups[drawn] for drawn in chance.integers(len(groups), size=len(groups))])
        row = estimates(score(truth[rows], likely[rows], rows, folds=where[rows], seed=0, resamples=1))
        if not set(truth.tolist()) <= set(truth[rows].tolist()):
            lacking += 1
            row[1] = None  # the mean is over all classes, or is none
        if not paired(truth, where) <= paired(truth[rows], where[rows]):
            row[2] = None
        lows.append([0.0 if each is None else each for each in row])
        highs.append([1.0 if each is None else each for each in row])
    low, high = np.quantile(lows, 0.025, axis=0), np.quantile(highs, 0.975, axis=0)
    intervals = (found.accuracy, found.balanced_accuracy, found.auc, *found.sensitivity, *found.specificity)
    for interval, expected_low, expected_high in zip(intervals, low, high, strict=True):
        if interval is not None:
            assert (interval.low, interval.high) == pytest.approx((expected_low, expected_high))
    assert found.resamples_without_a_class == lacking


def paired(truth: Codes, folds: NDArray[np.int64]) -> set[int]:
    """Classes with an image in whose fold there is one of another class."""
    pairs = product(zip(truth.tolist(), folds.tolist(), strict=True), repeat=2)
    return {code for (code, fold), (other, elsewhere) in pairs if fold == elsewhere and code != other}


def coverage(images_each: int, between: float) -> float:
    """How often the interval holds the true accuracy of 0.8, with 60 patients whose chances differ by `between`."""
    held = 0
    for seed in range(SIMULATIONS):
        generator = np.random.default_rng(seed)
        chances = np.where(generator.random(60) < 0.5, 0.8 - between, 0.8 + between)
        right = generator.random((60, images_each)) < chances[:, np.newaxis]
        truth = generator.integers(0, 2, right.size)
        taken = np.where(right.ravel(), truth, 1 - truth)
        whose = np.repeat(np.arange(60), images_each)
        accuracy = score(truth, np.eye(2)[taken], whose, seed=seed, resamples=300).accuracy
        held += accuracy.low <= 0.8 <= accuracy.high
    return held / SIMULATIONS


SIMULATIONS = 300
ERROR = 3 * np.sqrt(0.95 * 0.05 / SIMULATIONS)
"""Three standard errors of the share that is counted."""


@pytest.mark.parametrize(("images_each", "between"), [(1, 0.0), (5, 0.15)], ids=["one image each", "patients differ"])
def test_intervals_hold_the_truth_as_often_as_they_say(images_each: int, between: float) -> None:
    # The percentile bootstrap is known to fall a little short with few patients.
    assert 0.95 - ERROR - 0.02 < coverage(images_each, between) < 0.95 + ERROR


def test_images_of_one_patient_are_one_witness() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 100)
    likely = probabilities(4, 100, 2)
    single = score(truth, likely, np.arange(100), seed=0)
    repeated = score(np.repeat(truth, 9), np.repeat(likely, 9, axis=0), np.repeat(np.arange(100), 9), seed=0)
    assert estimates(repeated) == pytest.approx(estimates(single))
    assert (repeated.accuracy.low, repeated.accuracy.high) == pytest.approx((single.accuracy.low, single.accuracy.high))
    taken_for_many = score(np.repeat(truth, 9), np.repeat(likely, 9, axis=0), np.arange(900), seed=0)
    assert width(taken_for_many.accuracy) < 0.5 * width(repeated.accuracy)


def width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize(("patients", "told"), [(1, False), (3, False), (5, True)])
def test_of_a_class_of_few_patients_nothing_is_told(patients: int, told: bool) -> None:
    truth = np.repeat([0, 1], [100, patients])
    found = score(truth, np.eye(2)[truth], np.arange(100 + patients), seed=0)
    assert found.resamples_without_a_class > 0
    assert found.accuracy == Interval(1.0, 1.0, 1.0)
    for interval in (found.sensitivity[1], found.balanced_accuracy, found.auc):
        assert interval == Interval(1.0, 1.0 if told else 0.0, 1.0)
    assert found.sensitivity[0] == Interval(1.0, 1.0, 1.0)


def test_a_class_without_images_has_no_sensitivity() -> None:
    likely = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])
    found = score(np.array([0, 1, 1]), likely, np.arange(3), seed=0)
    assert found.sensitivity[2] is None
    assert found.specificity[2] is not None
    assert found.specificity[2].estimate == 1.0
    assert found.balanced_accuracy.estimate == 0.75
    # Image 0 is more of class 0 than both others; of the others, one is more of class 1 than image 0.
    assert found.auc is not None
    assert found.auc.estimate == pytest.approx((1 + 0.5) / 2)


def test_where_all_images_are_of_one_class_there_is_no_auc() -> None:
    found = score(np.array([1, 1]), of_two([0.9, 0.2]), np.arange(2), seed=0)
    assert found.auc is None
    assert found.sensitivity[0] is None
    assert found.specificity[1] is None
    assert found.confusion == ((0, 0), (1, 1))


def test_the_memory_at_hand_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, likely, whose = np.arange(50) % 3, probabilities(5, 50, 3), np.arange(50) // 2
    found = score(truth, likely, whose, seed=1, resamples=101)
    monkeypatch.setattr(scores, "_CELLS_AT_ONCE", 120)
    assert score(truth, likely, whose, seed=1, resamples=101) == found
    assert score(truth, likely, whose, seed=2, resamples=101) != found


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2018)
    truth = generator.integers(0, 2, 80)
    found = score(truth, of_two((generator.random(80) * 0.6 + 0.3 * truth).tolist()), np.arange(80) // 2, seed=7)
    assert found.auc is not None
    numbers = (found.auc.estimate, found.auc.low, found.auc.high)
    assert numbers == pytest.approx((0.8386491557223265, 0.7297221678558085, 0.9193458631632198))


def test_a_threshold_moves_decisions_and_not_the_auc() -> None:
    truth, likely = np.array([0, 0, 1, 1]), of_two([0.1, 0.3, 0.3, 0.4])
    plain = score(truth, likely, np.arange(4), seed=0)
    moved = score(truth, likely, np.arange(4), threshold=0.3, seed=0)
    assert plain.confusion == ((2, 0), (2, 0))
    assert moved.confusion == ((1, 1), (0, 2))
    assert plain.auc == moved.auc


def test_decisions() -> None:
    likely = of_two([0.2, 0.5, 0.8])
    assert decided(likely, None).tolist() == [0, 0, 1]
    assert decided(likely, 0.5).tolist() == [0, 1, 1]
    assert decided(likely, np.array([0.2, 0.6, 0.9])).tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="between two classes, not 3"):
        decided(np.full((1, 3), 1 / 3), 0.5)
    with pytest.raises(ValueError, match="between two classes, not 3"):
        chosen_threshold(np.array([0]), np.full((1, 3), 1 / 3))


@settings(max_examples=100)
@given(seed=SEEDS, images=st.integers(1, 25), levels=st.integers(1, 12))
def test_no_threshold_is_better_than_the_chosen_one(seed: int, images: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, images)
    second = generator.integers(0, levels + 1, images) / levels
    chosen = chosen_threshold(truth, of_two(second.tolist()))

    def youden(threshold: float) -> float:
        taken = second >= threshold
        return float(taken[truth == 1].mean() + (~taken[truth == 0]).mean())

    if len(set(truth.tolist())) < 2:
        assert chosen == 0.5
    else:
        others = [youden(each) for each in np.linspace(0.001, 0.999, 400) if second.min() < each <= second.max()]
        assert all(youden(chosen) >= each - 1e-12 for each in others)
        assert chosen == 0.5 or youden(chosen) > youden(0.5)


@pytest.mark.parametrize(
    ("truth", "second", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], 0.5),
        ([0, 1], [0.7, 0.7], 0.5),
        ([1, 1], [0.1, 0.2], 0.5),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.35),  # as good at 0.15
        ([0, 1, 0, 1], [0.25, 0.375, 0.625, 0.75], 0.3125),  # as good and as near at 0.6875
        ([1, 0], [0.1, 0.4], 0.5),
    ],
    ids=[
        "between the classes",
        "even odds will do",
        "all equal",
        "one class",
        "the nearer",
        "the lower",
        "worse than chance",
    ],
)
def test_ties_and_degenerate_cases(truth: list[int], second: list[float], expected: float) -> None:
    assert chosen_threshold(np.array(truth), of_two(second)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "likely", "patients", "sentence"),
    [
        ([0, 1], np.full((3, 2), 0.5), [0, 1, 2], "not of one set"),
        ([0, 1], np.full((2, 2), 0.5), [0], "not of one set"),
        ([], np.empty((0, 2)), [], "without images"),
        ([0, 2], np.full((2, 2), 0.5), [0, 1], "classes from 0 to 2 are not among 2"),
        ([0, 1], np.full((2, 2), np.nan), [0, 1], "not all finite"),
    ],
)
def test_what_does_not_go_together_is_refused(
    truth: list[int], likely: Likely, patients: list[int], sentence: str
) -> None:
    codes: Codes = np.array(truth, np.int64)
    with pytest.raises(ValueError, match=sentence):
        score(codes, likely, np.array(patients, np.int64), seed=0)


def test_folds_are_of_the_same_images() -> None:
    with pytest.raises(ValueError, match="not of one set"):
        score(np.array([0, 1]), np.full((2, 2), 0.5), np.arange(2), folds=np.array([0]), seed=0)
