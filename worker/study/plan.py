"""What a study is about: the images of whom, in which folds, by which random numbers, and what that will take."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array  # type: ignore[import-untyped]  # it ships no types
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from worker.classifier import SMALLEST_SIDE
from worker.contract.errors import InvalidRequest
from worker.contract.results import StudyFold, StudyForecast
from worker.contract.space import study_bytes
from worker.contract.study_cells import cells_of
from worker.contract.study_requests import StudyRequest
from worker.dataset import Dataset
from worker.sources.base import SPLITS
from worker.sources.classes import check_told_apart
from worker.sources.names import refuse, wrong_names
from worker.study.folds import Fold, patient_folds


@dataclass(frozen=True)
class Subjects:
    """The images that a study is about, by their places in the dataset, increasing.

    `codes` are their classes, as `names` has them. `units` are their `patients`, of whom those who have one and the
    same image count as one: nobody is learnt from and tested on under two names.
    """

    names: tuple[str, ...]
    places: NDArray[np.int64]
    codes: NDArray[np.int64]
    patients: NDArray[np.int64]
    units: NDArray[np.int64]
    repeated: int
    """Images whose pixels are those of another one."""


def subjects_of(request: StudyRequest, dataset: Dataset) -> Subjects:
    """The images of the classes that are asked for.

    Raises:
        InvalidRequest: there are not two classes, or too many, or not these; or the images are too small.
    """
    if dataset.image_size < SMALLEST_SIDE:
        raise InvalidRequest.at(
            "#/dataset",
            f"Its images are {dataset.image_size} pixels on a side, and a classifier needs {SMALLEST_SIDE}: prepare a "
            "dataset with a larger image_size.",
        )
    found = dataset.classes(request.classes.by)
    names = request.classes.only or found.names
    refuse(wrong_names("#/classes/only", "class", names, found.names))
    check_told_apart(names)
    code_of = np.full(len(found.names), -1, np.int64)
    code_of[[found.names.index(name) for name in names]] = np.arange(len(names))
    codes = code_of[found.codes]
    places = np.flatnonzero(codes >= 0)
    patients = dataset.patients[places]
    units, repeated = _units(dataset.images, places, patients)
    return Subjects(names, places, codes[places], patients, units, repeated)


def folds_of(request: StudyRequest, dataset: Dataset, subjects: Subjects) -> tuple[Fold, ...]:
    """Which of the subjects each fold learns from, validates with and tests on; of no patient in two of these.

    Raises:
        InvalidRequest: there are too few patients for so many folds; or without folds, a part of the dataset has too
            few images.
    """
    if request.folds is not None:
        return patient_folds(
            subjects.codes, subjects.units, folds=request.folds, seed=random_seed(request.seed, "folds")
        )
    parts = dataset.splits[subjects.places]
    train, validation, test = (np.flatnonzero(parts == SPLITS.index(part)) for part in SPLITS)
    # The source may have another view of who is in which part, or the same image in two.
    validation = validation[~np.isin(subjects.units[validation], subjects.units[test])]
    held_out = np.concatenate([validation, test])
    train = train[~np.isin(subjects.units[train], subjects.units[held_out])]
    for part, places, needed in (
        ("train", train, len(subjects.names)),
        ("validation", validation, 2),
        ("test", test, 2),
    ):
        if (classes := len(np.unique(subjects.codes[places]))) < needed:
            raise InvalidRequest.at(
                "#/folds",
                f"The part {part!r} of the dataset has images of {classes} of the {len(subjects.names)} classes, and "
                f"{needed} are needed: ask for `folds`, or make a dataset with a larger {part!r} part.",
            )
    return (Fold(train, validation, test),)


def random_seed(seed: int, *place: str | int) -> int:
    """A seed, 0 to 2^32 - 1, for what is at a place in a study: the same whatever was done before.

    By numpy's SeedSequence, which spreads entropy so that related places have unrelated seeds.
    """
    entropy = [seed, *"/".join(map(str, place)).encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def forecast(request: StudyRequest, dataset: Dataset) -> StudyForecast:
    """What a study would take.

    Raises:
        InvalidRequest: dataset, classes and folds do not go together.
    """
    subjects = subjects_of(request, dataset)
    folds = folds_of(request, dataset, subjects)
    generators = len(folds) * len(subjects.names) if request.needs_generators else 0
    return StudyForecast(
        classes=subjects.names,
        folds=tuple(counts_of(fold, subjects) for fold in folds),
        generators=generators,
        generator_steps=generators * request.generator.steps,
        synthetic_images=generators * request.amounts[-1],
        classifiers=sum(1 for _ in cells_of(request, len(folds))),
        bytes=bytes_of(request, dataset, subjects, len(folds)),
    )


def bytes_of(request: StudyRequest, dataset: Dataset, subjects: Subjects, folds: int) -> int:
    """What a study takes in the store at most, without the state of the generator in training."""
    return study_bytes(
        images=len(subjects.places),
        image_size=dataset.image_size,
        classes=len(subjects.names),
        folds=folds,
        largest_amount=request.amounts[-1] if request.needs_generators else 0,
        cells=sum(1 for _ in cells_of(request, 1)),
    )


def counts_of(fold: Fold, subjects: Subjects) -> StudyFold:
    """Images of each class in each part of a fold."""
    parts = {part: np.bincount(subjects.codes[getattr(fold, part)], minlength=len(subjects.names)) for part in SPLITS}
    named = {part: dict(zip(subjects.names, map(int, counts), strict=True)) for part, counts in parts.items()}
    return StudyFold(**named)


def _units(
    images: NDArray[np.uint8], places: NDArray[np.int64], patients: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Patients, those who share an image as one, numbered from 0; and how many images are repeated."""
    digests: dict[bytes, int] = {}
    pictures = np.fromiter(
        (
            digests.setdefault(hashlib.blake2b(images[place].tobytes(), digest_size=16).digest(), len(digests))
            for place in places
        ),
        np.int64,
        len(places),
    )
    persons, person_of = np.unique(patients, return_inverse=True)
    size = len(persons) + len(digests)
    shown = coo_array((np.ones(len(places)), (person_of, len(persons) + pictures)), shape=(size, size))
    _, groups = connected_components(shown, directed=False)
    return groups[person_of].astype(np.int64), len(places) - len(digests)
