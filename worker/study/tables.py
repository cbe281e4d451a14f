"""The tables of a study as CSV text: what its figures are drawn from and its sentences rest on, for other programs."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worker.sources.cells import plain_cell
from worker.study.comparisons import Comparison
from worker.study.curves import CurvePoint
from worker.study.scores import Interval, Scores

Cell = str | int
DIGITS = 6
"""Significant ones of a number: more than it means, and fewer than differ between machines."""


@dataclass(frozen=True)
class ArmScores:
    """What an arm came to on a part of the data; `amounts` are those chosen, one for each fold, 0 if it has none."""

    arm: str
    part: Literal["validation", "test"]
    amounts: tuple[int, ...]
    scores: Scores


@dataclass(frozen=True)
class ArmPredictions:
    """What an arm, at the amount chosen in each fold, takes the test images of all folds for, in one order of images.

    Each array is (N,), `likely` (N, C). `images` are places in the dataset, `folds` count from 1, and `truth` and
    `predicted` are codes of classes.
    """

    arm: str
    images: NDArray[np.int64]
    patients: NDArray[np.int64]
    folds: NDArray[np.int64]
    amounts: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    likely: NDArray[np.float64]


def arms_table(arms: Iterable[ArmScores], classes: Sequence[str]) -> str:
    """A line for each arm and part: scores with the ends of their intervals, and the confusion matrix by its cells.

    What is not defined is empty. `amounts` are joined with spaces.
    """
    header = ["arm", "part", "amounts", *_ends("accuracy"), *_ends("balanced_accuracy"), *_ends("auc")]
    header += [name for each in classes for name in _ends("sensitivity", f" of {each}")]
    header += [name for each in classes for name in _ends("specificity", f" of {each}")]
    header += [plain_cell(f"{true} taken for {taken}") for true in classes for taken in classes]
    return _csv(header, map(_arm_row, arms))


def comparisons_table(comparisons: Iterable[Comparison]) -> str:
    """A line for each pair of arms; `difference` is that of the accuracies, second less first."""
    header = ["first", "second", "difference", "p_value", "adjusted_p_value", "test"]
    return _csv(header, map(_comparison_row, comparisons))


def curve_table(points: Iterable[CurvePoint], chosen: Mapping[str, Sequence[int]]) -> str:
    """A line for each point of the curve, in the order given.

    `folds_that_chose_it` counts the amount in `chosen` of its arm, which has that of each fold.
    """
    header = ["arm", "amount"]
    for part in ("validation", "test"):
        header += [*_ends(f"{part}_accuracy"), *_ends(f"{part}_balanced_accuracy")]
    header.append("folds_that_chose_it")
    return _csv(header, (_curve_row(each, list(chosen.get(each.arm, ()))) for each in points))


def predictions_table(arms: Iterable[ArmPredictions], classes: Sequence[str]) -> str:
    """A line for each arm and test image: its true class, that it was taken for, and the probability of each class."""
    header = ["arm", "image", "patient", "fold", "amount", "class", "predicted"]
    header += [f"probability of {name}" for name in classes]
    names = list(map(plain_cell, classes))
    return _csv(header, (row for each in arms for row in _prediction_rows(each, names)))


def _arm_row(arm: ArmScores) -> list[Cell]:
    scores = arm.scores
    intervals = (scores.accuracy, scores.balanced_accuracy, scores.auc, *scores.sensitivity, *scores.specificity)
    return [
        arm.arm,
        arm.part,
        " ".join(map(str, arm.amounts)),
        *(number for interval in intervals for number in _numbers(interval)),
        *(images for row in scores.confusion for images in row),
    ]


def _comparison_row(found: Comparison) -> list[Cell]:
    numbers = (found.difference, found.p_value, found.adjusted_p_value)
    return [found.first, found.second, *map(_number, numbers), found.test]


def _curve_row(point: CurvePoint, chosen: Sequence[int]) -> list[Cell]:
    parts = (point.validation, point.test)
    intervals = [interval for scores in parts for interval in (scores.accuracy, scores.balanced_accuracy)]
    numbers = [number for interval in intervals for number in _numbers(interval)]
    return [point.arm, point.amount, *numbers, chosen.count(point.amount)]


def _prediction_rows(arm: ArmPredictions, classes: Sequence[str]) -> Iterator[list[Cell]]:
    columns: tuple[NDArray[Any], ...] = (arm.images, arm.patients, arm.folds, arm.amounts, arm.truth, arm.predicted)
    for *places, true, taken, likely in zip(*(each.tolist() for each in (*columns, arm.likely)), strict=True):
        yield [arm.arm, *places, classes[true], classes[taken], *map(_number, likely)]


def _ends(measure: str, of: str = "") -> tuple[str, str, str]:
    """The headers of an interval."""
    return f"{measure}{of}", f"{measure}_low{of}", f"{measure}_high{of}"


def _numbers(interval: Interval | None) -> tuple[str, str, str]:
    if interval is None:
        return "", "", ""
    return _number(interval.estimate), _number(interval.low), _number(interval.high)


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def _csv(header: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
