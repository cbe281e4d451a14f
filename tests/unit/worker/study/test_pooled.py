"""What is chosen on validation, and put together over folds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.contract.study_cells import Cell
from worker.study.folds import Fold
from worker.study.plan import Subjects
from worker.study.pooled import Choice, Held
from worker.study.record import Told

CODES = np.array([0, 1] * 6)
FOLDS = tuple(
    Fold(*(np.array(part) for part in parts))
    for parts in (([8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]), ([0, 1, 2, 3], [8, 9, 10, 11], [4, 5, 6, 7]))
)


def subjects() -> Subjects:
    return Subjects(("Mass", "Nodule"), np.arange(12) + 100, CODES, np.arange(12), np.arange(12) // 2, 0)


def likely(*second: float) -> NDArray[np.float64]:
    probability = np.array(second)
    return np.column_stack([1 - probability, probability])


RIGHT, WRONG = likely(0.1, 0.9, 0.2, 0.8), likely(0.6, 0.4, 0.7, 0.3)
LATE = likely(0.6, 0.9, 0.65, 0.8)
"""Right, if the threshold is chosen accordingly."""


def held(**told: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Held:
    """`arm_amount_fold=(validation, test)`."""
    cells = {}
    for name, (validation, test) in told.items():
        arm, amount, fold = name.rsplit("_", 2)
        cells[Cell(int(fold), arm, int(amount))] = Told(validation, test, 1.0, 1)
    return Held(subjects(), FOLDS, cells)


def test_the_amount_is_chosen_on_validation_where_test_would_choose_another_one() -> None:
    found = held(real_0_0=(WRONG, WRONG), real_synthetic_5_0=(RIGHT, WRONG), real_synthetic_9_0=(WRONG, RIGHT))
    assert found.choice(0, "real_synthetic", (0, 5, 9)).amount == 5


def test_of_equally_good_amounts_the_least_is_chosen() -> None:
    found = held(real_0_0=(RIGHT, WRONG), real_synthetic_5_0=(RIGHT, RIGHT), real_synthetic_9_0=(RIGHT, RIGHT))
    assert found.choice(0, "real_synthetic", (0, 5, 9)).amount == 0
    assert found.choice(0, "real_synthetic", (5, 9)).amount == 5


def test_each_fold_chooses_for_itself() -> None:
    found = held(
        synthetic_5_0=(RIGHT, WRONG),
        synthetic_9_0=(WRONG, RIGHT),
        synthetic_5_1=(WRONG, WRONG),
        synthetic_9_1=(LATE, LATE),
    )
    choices = [found.choice(fold, "synthetic", (5, 9)) for fold in (0, 1)]
    assert choices == [Choice(0, 5, 0.5), Choice(1, 9, pytest.approx(0.725))]
    pool = found.pool("synthetic", choices, "test")
    assert pool.places.tolist() == list(range(8))
    assert pool.truth.tolist() == [0, 1] * 4
    assert pool.patients.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pool.folds.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(pool.likely, np.concatenate([WRONG, LATE]))
    assert pool.thresholds.tolist() == [0.5] * 4 + [pytest.approx(0.725)] * 4
    assert pool.predicted.tolist() == [1, 0, 1, 0, 0, 1, 0, 1]


def test_the_threshold_is_chosen_on_validation() -> None:
    found = held(real_0_0=(LATE, WRONG))
    assert found.threshold(0, "real", 0) == pytest.approx(0.725)


def test_of_three_classes_the_likeliest_is_told() -> None:
    three = Subjects(("a", "b", "c"), np.arange(12), np.arange(12) % 3, np.arange(12), np.arange(12), 0)
    told = Told(np.eye(3)[np.arange(4, 8) % 3], np.eye(3)[np.arange(4) % 3], 1.0, 1)
    found = Held(three, FOLDS, {Cell(0, "real", 0): told})
    choice = found.choice(0, "real", (0,))
    assert choice == Choice(0, 0, None)
    pool = found.pool("real", [choice], "test")
    assert pool.thresholds is None
    assert pool.predicted.tolist() == pool.truth.tolist() == [0, 1, 2, 0]


def test_what_has_not_been_taught_is_not_there() -> None:
    found = held(real_0_0=(RIGHT, RIGHT))
    assert found.of(0, "real_synthetic", 0) is found.of(0, "real", 0) is not None
    assert found.of(0, "real_synthetic", 5) is None
    assert found.of(1, "real", 0) is None
