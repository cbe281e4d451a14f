"""What classifiers of a study learn from, put together without being read."""

import numpy as np
import pytest

from trainers import noise
from worker.contract.study_cells import Cell
from worker.population import Population
from worker.study.arms import Joined, lesson_of
from worker.study.folds import Fold
from worker.study.plan import Subjects
from worker.study.sealed_fold import SealedFold

IMAGES = noise(8, 12)
CODES = np.arange(12) % 2
SYNTHETIC = (noise(8, 5)[::-1], 255 - noise(8, 5))


@pytest.fixture
def sealed() -> SealedFold:
    subjects = Subjects(("Mass", "Nodule"), np.arange(12), CODES, np.arange(12), np.arange(12), 0)
    return SealedFold(0, IMAGES, subjects, Fold(np.array([1, 2, 4, 7]), np.array([0, 5]), np.array([3, 6])))


@pytest.mark.parametrize(
    ("cell", "expected", "codes", "real"),
    [
        (Cell(0, "real", 0), [IMAGES[[1, 2, 4, 7]]], [1, 0, 0, 1], 4),
        (
            Cell(0, "real_synthetic", 3),
            [IMAGES[[1, 2, 4, 7]], SYNTHETIC[0][:3], SYNTHETIC[1][:3]],
            [1, 0, 0, 1, 0, 0, 0, 1, 1, 1],
            4,
        ),
        (Cell(0, "synthetic", 2), [SYNTHETIC[0][:2], SYNTHETIC[1][:2]], [0, 0, 1, 1], 0),
    ],
    ids=lambda value: value.told if isinstance(value, Cell) else "",
)
def test_a_lesson_has_the_real_images_first_and_then_those_of_each_class(sealed, cell, expected, codes, real) -> None:
    lesson = lesson_of(cell, sealed, SYNTHETIC)
    images = np.concatenate(expected)
    assert (lesson.real, lesson.codes.tolist(), lesson.images.shape) == (real, codes, images.shape)
    for rows in (np.arange(len(images)), np.random.default_rng(1).integers(0, len(images), 9), np.arange(0)):
        assert np.array_equal(lesson.images[rows], images[rows])


def test_only_the_rows_that_are_asked_for_are_read() -> None:
    class Read(Population):
        """Remembers how many."""

        def take(self, positions):
            read.append(len(positions))
            return super().take(positions)

    read: list[int] = []
    joined = Joined((Read(IMAGES, np.arange(10)), Read(IMAGES, np.arange(3))))
    assert np.array_equal(joined[np.array([12, 0, 2, 12])], IMAGES[[2, 0, 2, 2]])
    assert read == [2, 2]
