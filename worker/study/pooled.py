"""What was told of all images that a study has held out, put together from its folds at what was chosen in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.contract.study_cells import Cell, stands_for
from worker.contract.study_requests import StudyArm
from worker.study.folds import Fold
from worker.study.plan import Subjects
from worker.study.record import Told
from worker.study.scores import chosen_threshold, decided

HeldOut = Literal["validation", "test"]


@dataclass(frozen=True)
class Choice:
    """What was chosen in a fold, by its number from 0; the threshold is of two classes, and None of more."""

    fold: int
    amount: int
    threshold: float | None


@dataclass(frozen=True)
class Pool:
    """Images of the same part of several folds, fold by fold: their classes and patients, and what was told of them.

    `likely` is (N, classes). `folds`, (N,), are numbers from 0. `thresholds`, (N,), decide between two classes, each by
    its own fold's choice.
    """

    places: NDArray[np.int64]
    truth: NDArray[np.int64]
    patients: NDArray[np.int64]
    folds: NDArray[np.int64]
    likely: NDArray[np.float64]
    thresholds: NDArray[np.float64] | None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each image is taken for."""
        return decided(self.likely, self.thresholds)


class Held:
    """What the classifiers of a study have told so far."""

    def __init__(self, subjects: Subjects, folds: Sequence[Fold], told: Mapping[Cell, Told]) -> None:
        self.subjects = subjects
        self.folds = folds
        self._told = told

    def of(self, fold: int, arm: StudyArm, amount: int) -> Told | None:
        """What the classifier told that is meant by these; None if it has not been taught."""
        return self._told.get(Cell(fold, *stands_for(arm, amount)))

    def threshold(self, fold: int, arm: StudyArm, amount: int) -> float | None:
        """That of the second of two classes which validates best; None of more classes.

        KeyError if the classifier has not been taught.
        """
        truth, likely = self._part(fold, arm, amount, "validation")
        return chosen_threshold(truth, likely) if likely.shape[1] == 2 else None

    def choice(self, fold: int, arm: StudyArm, amounts: Sequence[int]) -> Choice:
        """The amount with the best balanced accuracy on the fold's validation part, the least of equally good ones.

        What the test part says is not looked at. KeyError if one of the classifiers has not been taught.
        """
        return max(
            (Choice(fold, amount, self.threshold(fold, arm, amount)) for amount in amounts),
            key=lambda choice: (self._balanced_accuracy(arm, choice), -choice.amount),
        )

    def pool(self, arm: StudyArm, choices: Sequence[Choice], part: HeldOut) -> Pool:
        """The images of a part of some folds. KeyError if one of the classifiers has not been taught."""
        places = [getattr(self.folds[choice.fold], part) for choice in choices]
        likely = [self._part(choice.fold, arm, choice.amount, part)[1] for choice in choices]
        thresholds = [np.full(len(here), choice.threshold) for here, choice in zip(places, choices, strict=True)]
        folds = [np.full(len(here), choice.fold) for here, choice in zip(places, choices, strict=True)]
        whole = np.concatenate(places)
        return Pool(
            places=whole,
            truth=self.subjects.codes[whole],
            patients=self.subjects.units[whole],
            folds=np.concatenate(folds),
            likely=np.concatenate(likely),
            thresholds=None if choices[0].threshold is None else np.concatenate(thresholds),
        )

    def _balanced_accuracy(self, arm: StudyArm, choice: Choice) -> float:
        """Mean sensitivity on validation of the classes that have an image there."""
        truth, likely = self._part(choice.fold, arm, choice.amount, "validation")
        right = decided(likely, choice.threshold) == truth
        return float(np.mean([right[truth == code].mean() for code in np.unique(truth)]))

    def _part(
        self, fold: int, arm: StudyArm, amount: int, part: HeldOut
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        likely: NDArray[np.float64] = getattr(self._told[Cell(fold, *stands_for(arm, amount))], part)
        return self.subjects.codes[getattr(self.folds[fold], part)], likely
