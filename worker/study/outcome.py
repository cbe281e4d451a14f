"""What a study has found: every arm at what was chosen on validation, scored, compared, drawn and told in sentences."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, count
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from worker.contract.results import (
    Interval,
    MissingCell,
    StudyArmResult,
    StudyChoice,
    StudyComparison,
    StudyPoint,
    StudyResult,
    StudyScores,
)
from worker.contract.study_cells import cells_of, points_of, stands_for
from worker.contract.study_requests import SYNTHETIC_ARMS, StudyArm, StudyRequest
from worker.study import scores
from worker.study.caveats import caveats_of
from worker.study.comparisons import Comparison, compare
from worker.study.curves import Chart, CurvePoint, draw_curve
from worker.study.plan import counts_of, random_seed
from worker.study.pooled import Choice, Held, HeldOut
from worker.study.scores import Scores, score
from worker.study.tables import (
    ArmPredictions,
    ArmScores,
    arms_table,
    comparisons_table,
    curve_table,
    predictions_table,
)

PAIRS: tuple[tuple[StudyArm, StudyArm], ...] = (
    *(("real", other) for other in ("real_oversampled", "real_classical", *SYNTHETIC_ARMS)),
    ("real_oversampled", "real_synthetic"),
    ("real_classical", "real_classical_synthetic"),
)
"""Which arms are compared: each with the plain one, and those with synthetic images with what costs no generator."""

OnScore = Callable[[int, int], None]
"""Is told how many scores of how many there are."""


class Outcome:
    """What came of the cells that there are; of arms, those that have a fold without a missing cell."""

    def __init__(self, request: StudyRequest, held: Held, on_score: OnScore = lambda *_: None) -> None:
        """Choose, score and compare.

        Args:
            request: The study.
            held: What its classifiers have told.
            on_score: Called before each score; what it raises ends the work.
        """
        self._request = request
        self._held = held
        self._score = cache(self._scored)
        self.choices = {arm: found for arm in request.arms if (found := self._choices(arm))}
        points = {point: found for point in points_of(request) if (found := self._with_amount(*point))}
        asked = len(get_args(HeldOut)) * (len(self.choices) + len(points))
        done = count()

        def both(arm: StudyArm, choices: tuple[Choice, ...]) -> dict[HeldOut, Scores]:
            # By the name of what was taught: with an amount of 0 in all folds, two arms are the same classifiers.
            taught, _ = stands_for(arm, max(choice.amount for choice in choices))
            found: dict[HeldOut, Scores] = {}
            for part in get_args(HeldOut):
                on_score(next(done), asked)
                found[part] = self._score(taught, choices, part)
            return found

        self.arms = {arm: both(arm, choices) for arm, choices in self.choices.items()}
        self.curve = [CurvePoint(arm, amount, **both(arm, choices)) for (arm, amount), choices in points.items()]
        on_score(asked, asked)
        self.comparisons = self._compared()

    @property
    def chosen(self) -> dict[str, list[int]]:
        """By arm, the amount that each fold chose."""
        return {arm: [choice.amount for choice in choices] for arm, choices in self.choices.items()}

    def result(self, *, patients_known: bool, left_out: int, seconds: float) -> StudyResult:
        """All of it, as it is told over HTTP.

        Args:
            patients_known: Whether the source names patients.
            left_out: Images of the dataset's parts that are not in the study, since their patients are held out.
            seconds: That the work took.
        """
        held, names = self._held, self._held.subjects.names
        return StudyResult(
            classes=names,
            images=len(held.subjects.places),
            patients=len(np.unique(held.subjects.units)),
            folds=tuple(counts_of(fold, held.subjects) for fold in held.folds),
            arms=tuple(
                StudyArmResult(
                    arm=arm,
                    chosen=tuple(
                        StudyChoice(fold=each.fold + 1, amount=each.amount, threshold=each.threshold)
                        for each in self.choices[arm]
                    ),
                    **{part: _told(found, names) for part, found in parts.items()},
                )
                for arm, parts in self.arms.items()
            ),
            comparisons=tuple(StudyComparison(**vars(each)) for each in self.comparisons),
            curve=tuple(
                StudyPoint(
                    arm=point.arm,
                    amount=point.amount,
                    validation=_told(point.validation, names),
                    test=_told(point.test, names),
                )
                for point in self.curve
            ),
            missing=tuple(
                MissingCell(fold=cell.fold + 1, arm=cell.arm, amount=cell.amount)
                for cell in cells_of(self._request, len(held.folds))
                if held.of(cell.fold, cell.arm, cell.amount) is None
            ),
            caveats=tuple(caveats_of(self._request, held, self.arms, patients_known=patients_known, left_out=left_out)),
            seconds=round(seconds, 3),
        )

    def chart(self) -> Chart | None:
        """The curve as pictures; None without a point."""
        return draw_curve(self.curve, self.chosen) if self.curve else None

    def tables(self) -> dict[str, str]:
        """CSV texts by the names of their files."""
        names = self._held.subjects.names
        of_arms = (
            ArmScores(arm, part, tuple(self.chosen[arm]), found)
            for arm, parts in self.arms.items()
            for part, found in parts.items()
        )
        return {
            "arms.csv": arms_table(of_arms, names),
            "comparisons.csv": comparisons_table(self.comparisons),
            "curve.csv": curve_table(self.curve, self.chosen),
            "predictions.csv": predictions_table(map(self._predictions, self.arms), names),
        }

    def _choices(self, arm: StudyArm) -> tuple[Choice, ...]:
        """What each fold chooses, of those that have all that there is to choose from."""
        amounts = [amount for each, amount in points_of(self._request) if each == arm]
        return tuple(
            self._held.choice(fold, arm, amounts)
            for fold in range(len(self._held.folds))
            if all(self._held.of(fold, arm, amount) is not None for amount in amounts)
        )

    def _with_amount(self, arm: StudyArm, amount: int) -> tuple[Choice, ...]:
        """The same amount in all folds that have it, each with its own threshold."""
        return tuple(
            Choice(fold, amount, self._held.threshold(fold, arm, amount))
            for fold in range(len(self._held.folds))
            if self._held.of(fold, arm, amount) is not None
        )

    def _scored(self, arm: StudyArm, choices: Sequence[Choice], part: HeldOut) -> Scores:
        pool = self._held.pool(arm, choices, part)
        return score(
            pool.truth,
            pool.likely,
            pool.patients,
            folds=pool.folds,
            threshold=pool.thresholds,
            seed=random_seed(self._request.seed, "resamples"),
        )

    def _compared(self) -> tuple[Comparison, ...]:
        """On the test images of the folds that all arms have."""
        pairs = [pair for pair in PAIRS if set(pair) <= self.arms.keys()]
        folds = set(range(len(self._held.folds)))
        common = folds.intersection(*({each.fold for each in choices} for choices in self.choices.values()))
        if not pairs or not common:
            return ()
        pools = {
            arm: self._held.pool(arm, [each for each in choices if each.fold in common], "test")
            for arm, choices in self.choices.items()
        }
        real = pools["real"]
        predicted: dict[str, NDArray[np.int64]] = {arm: pool.predicted for arm, pool in pools.items()}
        seed = random_seed(self._request.seed, "permutations")
        return compare(real.truth, predicted, real.patients, pairs=pairs, seed=seed)

    def _predictions(self, arm: StudyArm) -> ArmPredictions:
        choices, subjects = self.choices[arm], self._held.subjects
        pool = self._held.pool(arm, choices, "test")
        sizes = [len(self._held.folds[choice.fold].test) for choice in choices]
        return ArmPredictions(
            arm=arm,
            images=subjects.places[pool.places],
            patients=subjects.patients[pool.places],
            folds=pool.folds + 1,
            amounts=np.repeat([choice.amount for choice in choices], sizes),
            truth=pool.truth,
            predicted=pool.predicted,
            likely=pool.likely,
        )


def _told(found: Scores, names: Sequence[str]) -> StudyScores:
    return StudyScores(
        images=sum(chain.from_iterable(found.confusion)),
        accuracy=_interval(found.accuracy),
        balanced_accuracy=_interval(found.balanced_accuracy),
        auc=found.auc and _interval(found.auc),
        sensitivity={name: each and _interval(each) for name, each in zip(names, found.sensitivity, strict=True)},
        specificity={name: each and _interval(each) for name, each in zip(names, found.specificity, strict=True)},
        confusion=found.confusion,
    )


def _interval(found: scores.Interval) -> Interval:
    return Interval(**vars(found))
