"""No patient who is held out can be learnt from."""

import numpy as np
import pytest

from trainers import noise
from worker.contract.errors import PatientLeak
from worker.study.folds import Fold
from worker.study.plan import Subjects
from worker.study.sealed_fold import SealedFold

IMAGES = noise(8, 12)
PLACES = np.arange(2, 12)
"""The first two images are not in the study."""


def subjects(patients: list[int]) -> Subjects:
    units = np.array(patients, np.int64)
    return Subjects(("Mass", "Nodule"), PLACES, np.arange(10) % 2, units, units, 0)


def fold(train: list[int], validation: list[int], test: list[int]) -> Fold:
    return Fold(*(np.array(part, np.int64) for part in (train, validation, test)))


def test_a_generator_is_given_its_class_of_the_train_part() -> None:
    sealed = SealedFold(0, IMAGES, subjects(list(range(10))), fold([0, 1, 2, 3, 4], [5, 6], [7, 8, 9]))
    for code, members in ((0, [2, 4, 6]), (1, [3, 5])):
        population = sealed.population(code)
        assert population.indices.tolist() == members
        assert np.array_equal(population.take(np.arange(len(members))), IMAGES[members])


def test_a_classifier_is_given_the_train_part() -> None:
    sealed = SealedFold(0, IMAGES, subjects(list(range(10))), fold([0, 1, 4], [5, 6], [7, 8, 9]))
    images, codes = sealed.to_learn_from()
    assert np.array_equal(images.take(np.arange(len(images))), IMAGES[[2, 3, 6]])
    assert codes.tolist() == [0, 1, 0]
    assert np.array_equal(sealed.to_validate_with()[0], IMAGES[[7, 8]])
    assert np.array_equal(sealed.to_test_on(), IMAGES[[9, 10, 11]])


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (([0, 1, 2], [3, 4], [5, 0]), "both in the train and in the test part"),
        (([0, 1, 2], [3, 2], [5, 6]), "both in the train and in the validation part"),
        (([0, 1, 2], [3, 4], [5, 4]), "both in the validation and in the test part"),
    ],
)
def test_a_fold_that_leaks_cannot_be_made(parts, told) -> None:
    with pytest.raises(PatientLeak, match=f"In fold 3, 1 patients are {told}"):
        SealedFold(2, IMAGES, subjects(list(range(10))), fold(*parts))


def test_another_image_of_a_patient_who_is_held_out_is_a_leak_too() -> None:
    with pytest.raises(PatientLeak):
        SealedFold(0, IMAGES, subjects([0, 1, 2, 3, 4, 5, 6, 0, 8, 9]), fold([0, 1, 2], [3, 4], [7, 8]))
