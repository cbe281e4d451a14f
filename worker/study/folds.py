"""Cross-validation by patient: whose images a network learns from, is chosen by and is judged by, fold by fold."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]  # it ships no types

from worker.contract.errors import InvalidRequest
from worker.contract.study_requests import MIN_FOLDS

Codes = NDArray[np.integer[Any]]
"""(N,), the class of each image, from 0 up."""
Patients = NDArray[np.int64]
"""(N,), the patient of each image."""
Places = NDArray[np.int64]
"""Which images, by their places in `codes` and `patients`, increasing."""


@dataclass(frozen=True)
class Fold:
    """The images of the three parts of a fold. No patient is in two of them."""

    train: Places
    validation: Places
    test: Places


def patient_folds(codes: Codes, patients: Patients, *, folds: int, seed: int) -> tuple[Fold, ...]:
    """Deal the patients out into as many parts as folds, each with the classes in the proportion of all, if it can be.

    Each part tests one fold and validates the one before it; the others train. So every image tests one network and
    chooses among those of one other fold, and validation parts are as large and as mixed as test parts.

    Args:
        codes: the class of each image; every class among them is to be learnt.
        patients: the patient of each image, who stays in one part with all images.
        folds: how many, MIN_FOLDS or more.
        seed: draws the parts, 0 to 2^32 - 1.

    Raises:
        InvalidRequest: there are fewer folds than three, fewer patients than folds, or a fold would have nothing to be
            tested by, or nothing of a class to learn from.
        ValueError: not each image has one class and one patient.
    """
    if codes.ndim != 1 or codes.shape != patients.shape:
        raise ValueError(f"classes of shape {codes.shape} and patients of {patients.shape} are not those of one set")
    _check_numbers(codes, patients, folds)
    parts = list(_parts(codes, patients, folds, seed))
    for number, part in enumerate(parts, start=1):
        if not len(part):
            raise _refused(
                f"The patients are too unequal for {folds} folds: none is left for the test of fold {number}"
            )
    found = tuple(_fold(parts, number) for number in range(folds))
    for number, fold in enumerate(found, start=1):
        _check_classes(codes, patients, fold, f"fold {number} of {folds}")
    return found


def _parts(codes: Codes, patients: Patients, folds: int, seed: int) -> Iterator[Places]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class that is missing in some part may be in every train part all the same, which is looked at afterwards.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for _, part in splitter.split(codes, codes, patients):
            yield part.astype(np.int64)


def _fold(parts: list[Places], number: int) -> Fold:
    validating = (number + 1) % len(parts)
    others = [part for place, part in enumerate(parts) if place not in {number, validating}]
    return Fold(np.sort(np.concatenate(others)), parts[validating], parts[number])


def _check_numbers(codes: Codes, patients: Patients, folds: int) -> None:
    if folds < MIN_FOLDS:
        raise _refused(f"{folds} folds leave nothing to learn from beside a test and a validation part", "more folds")
    if (count := len(np.unique(patients))) < folds:
        raise _refused(f"{folds} folds need as many patients, and there are {count}")
    if (largest := int(np.unique(codes, return_counts=True)[1].max())) < folds:
        raise _refused(f"{folds} folds need a class of as many images, and the largest has {largest}")


def _check_classes(codes: Codes, patients: Patients, fold: Fold, name: str) -> None:
    for code in np.setdiff1d(codes, codes[fold.train]):
        images = np.flatnonzero(codes == code)
        whose = len(np.unique(patients[images]))
        raise _refused(
            f"A class of {len(images)} images, those of {whose} patients, has none to learn from in {name}",
            "fewer folds, fewer classes, or a dataset with more patients of each",
        )


def _refused(reason: str, remedy: str = "fewer folds, or take a dataset with more patients") -> InvalidRequest:
    return InvalidRequest.at("#/folds", f"{reason}: ask for {remedy}.")
