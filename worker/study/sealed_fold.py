"""A fold whose test and validation patients cannot be learnt from: whoever trains is handed this, and nothing else."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import PatientLeak
from worker.population import Population
from worker.sources.base import SPLITS
from worker.study.folds import Fold
from worker.study.plan import Subjects


@dataclass(frozen=True)
class SealedFold:
    """The images of a fold, uint8 (images, S, S), with the classes of those in each part.

    PatientLeak, when one is made, if a patient is in two parts: what it gives to learn from is of others by
    construction.
    """

    number: int
    """From 0."""
    images: NDArray[np.uint8]
    subjects: Subjects
    fold: Fold

    def __post_init__(self) -> None:
        whose = {part: set(self.subjects.units[getattr(self.fold, part)].tolist()) for part in SPLITS}
        for one, other in combinations(SPLITS, 2):
            if shared := whose[one] & whose[other]:
                raise PatientLeak(
                    f"In fold {self.number + 1}, {len(shared)} patients are both in the {one} and in the {other} part: "
                    "this is an error of RaGAN, to be reported. Nothing was learnt."
                )

    def population(self, code: int) -> Population:
        """What the generator of a class learns from: that class in the train part."""
        train = self.fold.train
        return Population(self.images, self.subjects.places[train[self.subjects.codes[train] == code]])

    def to_learn_from(self) -> tuple[Population, NDArray[np.int64]]:
        """The real images of the train part, and their classes (N,)."""
        train = self.fold.train
        return Population(self.images, self.subjects.places[train]), self.subjects.codes[train]

    def to_validate_with(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Those of the validation part, (N, S, S), and theirs."""
        return self._part(self.fold.validation)

    def to_test_on(self) -> NDArray[np.uint8]:
        """Those of the test part. Whoever taught a network does not need to know their classes."""
        return self._part(self.fold.test)[0]

    def _part(self, places: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return np.asarray(self.images[self.subjects.places[places]]), self.subjects.codes[places]
