"""The classifiers of a study: which there are follows from its request alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.contract.study_requests import SYNTHETIC_ARMS, StudyArm, StudyRequest

WITHOUT_SYNTHETIC: Mapping[StudyArm, StudyArm] = {
    "real_synthetic": "real",
    "real_classical_synthetic": "real_classical",
}
"""Which arm an arm is with an amount of 0. `synthetic` is none: there is nothing to learn from."""


@dataclass(frozen=True)
class Cell:
    """One classifier of a fold: what it learns from, with so many synthetic images of each class."""

    fold: int
    arm: StudyArm
    amount: int

    @property
    def told(self) -> str:
        """For people, who count from 1."""
        amount = f" with {self.amount:,}" if self.amount else ""
        return f"fold {self.fold + 1}, {self.arm}{amount}"


def cells_of(request: StudyRequest, folds: int) -> Iterator[Cell]:
    """The classifiers of a study, fold by fold, first those that need no generator.

    With an amount of 0, an arm is that without synthetic images, which is then taught whether it is asked for or not.
    """
    kinds = dict.fromkeys((arm, 0) for arm in request.arms if arm not in SYNTHETIC_ARMS)
    kinds |= dict.fromkeys(stands_for(arm, amount) for arm, amount in points_of(request))
    ordered = sorted(kinds, key=lambda kind: kind[1] > 0)
    return (Cell(fold, arm, amount) for fold in range(folds) for arm, amount in ordered)


def points_of(request: StudyRequest) -> Iterator[tuple[StudyArm, int]]:
    """Each arm with each of its amounts: 0 alone for those without synthetic images."""
    for arm in request.arms:
        amounts = request.amounts if arm in SYNTHETIC_ARMS else (0,)
        yield from ((arm, amount) for amount in amounts if amount or arm != "synthetic")


def stands_for(arm: StudyArm, amount: int) -> tuple[StudyArm, int]:
    """The arm and amount of the classifier that is meant by these."""
    return (arm, amount) if amount else (WITHOUT_SYNTHETIC.get(arm, arm), 0)
