"""How good predictions are: scores of a classifier with bootstrap intervals, and decisions by threshold.

Images of one patient are alike, so the bootstrap draws patients, each with all images (Field & Welsh 2007,
"Bootstrapping clustered data", J. R. Stat. Soc. B 69). Of images drawn one by one, intervals come out too narrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix  # type: ignore[import-untyped]  # it ships no types

from worker.study.folds import Codes, Patients

CONFIDENCE = 0.95
RESAMPLES = 2000
EVEN_ODDS = 0.5
"""The threshold by which two classes are told apart where nothing says another one."""

_CELLS_AT_ONCE = 1 << 20
"""Images times resamples that are counted at a time; they bound the memory."""

Likely = NDArray[np.float64]
"""(N, C), the probability of each class for each image."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval, all in [0, 1]."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """What `score` finds; see there for what is None. Sensitivity and specificity have a place for each class.

    `confusion` counts images: a row for each true class, a column for each predicted one.

    `resamples_without_a_class` says in how many resamples an image of some class was missing: where it is not 0, a
    class has few patients, and its intervals are wide.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    auc: Interval | None
    sensitivity: tuple[Interval | None, ...]
    specificity: tuple[Interval | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    resamples_without_a_class: int


def decided(likely: Likely, threshold: float | NDArray[np.float64] | None) -> NDArray[np.int64]:
    """The class that each image is taken for: (N,).

    Without a threshold the most likely one, the first of equally likely ones. Of two classes, with a threshold, or
    with one for each image: the second where it is as likely as that or more.

    Raises:
        ValueError: a threshold for other than two classes.
    """
    if threshold is None:
        likeliest: NDArray[np.int64] = likely.argmax(axis=1)
        return likeliest
    if likely.shape[1] != 2:
        raise ValueError(f"a threshold decides between two classes, not {likely.shape[1]}")
    return (likely[:, 1] >= threshold).astype(np.int64)


def chosen_threshold(truth: Codes, likely: Likely) -> float:
    """The threshold of the second of two classes with the highest sensitivity + specificity - 1 (Youden 1950).

    It is 0.5 unless another one is better: so it is where one class has no image, or all are equally likely. Others
    lie midway between neighbouring probabilities; of equally good ones it is the one nearest to 0.5, of two as near
    the lower.

    Raises:
        ValueError: `likely` is not that of two classes for each image.
    """
    _check(truth, likely)
    if likely.shape[1] != 2:
        raise ValueError(f"a threshold decides between two classes, not {likely.shape[1]}")
    negative, positive = (np.sort(likely[truth == code, 1]) for code in (0, 1))
    values = np.unique(likely[:, 1])
    thresholds = np.append((values[:-1] + values[1:]) / 2, EVEN_ODDS)
    # Counts, not shares: whole numbers tell what is equally good. Both terms have the same denominator.
    detected = len(positive) - np.searchsorted(positive, thresholds)
    rejected = np.searchsorted(negative, thresholds)
    index = detected * len(negative) + rejected * len(positive)
    best = thresholds[index == index.max()]
    return float(min(best, key=lambda threshold: (abs(threshold - EVEN_ODDS), threshold)))


def score(
    truth: Codes,
    likely: Likely,
    patients: Patients,
    *,
    folds: NDArray[np.int64] | None = None,
    threshold: float | NDArray[np.float64] | None = None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Scores:
    """Scores of all images together, each with its percentile interval over resamples of the patients.

    Sensitivity is the share of a class's images that are taken for it, specificity that of the other images that are
    not; balanced accuracy is the mean sensitivity. AUC is the chance that an image of the class is given a higher
    probability of it than another image, ties counting half (Hanley & McNeil 1982): of the second of two classes; of
    more, the mean over classes of each against the rest. Only images of one fold are compared, and all such pairs
    count alike: another fold's network may give higher probabilities to all of its images (Forman & Scholz 2010,
    "Apples-to-apples in cross-validation studies", SIGKDD Explorations 12).

    A class without any image has no sensitivity, and the means go by the others; specificity is None where all images
    are of one class, and so is AUC where those of each fold are.

    A resample without an image of a class that has some, or without a pair for its AUC, could have had any value of
    what needs it. It counts as 0 at the low end and as 1 at the high end, so that of a class of three patients or
    fewer, whom more than 2.5 % of the resamples miss, nothing is told but 0 to 1. Where no image is taken for another
    class, an interval has no width: no resample holds an error.

    Args:
        truth: the class of each image, below C.
        likely: the probability of each class.
        patients: whose image it is.
        folds: in which it is held out; None: all in one.
        threshold: see `decided`; AUC does not depend on it.
        seed: of the resamples.
        resamples: how many.

    Raises:
        ValueError: there is no image, or the arguments do not go together.
    """
    together = np.zeros(len(truth), np.int64) if folds is None else folds
    _check(truth, likely, patients, together)
    predicted = decided(likely, threshold)
    estimates = _statistics(np.ones((1, len(truth))), truth, likely, predicted, together)[0]
    replicates = np.concatenate(
        [
            _statistics(weights, truth, likely, predicted, together)
            for weights in _resampled(patients, resamples, np.random.default_rng(seed))
        ]
    )
    accuracy, balanced_accuracy, *others = (
        _interval(estimate, of_resamples) for estimate, of_resamples in zip(estimates, replicates.T, strict=True)
    )
    auc, *by_class = (None if np.isnan(each.estimate) else each for each in others)
    classes = likely.shape[1]
    return Scores(
        accuracy=accuracy,
        balanced_accuracy=balanced_accuracy,
        auc=auc,
        sensitivity=tuple(by_class[:classes]),
        specificity=tuple(by_class[classes:]),
        confusion=tuple(map(tuple, confusion_matrix(truth, predicted, labels=range(classes)).tolist())),
        resamples_without_a_class=int(np.isnan(replicates[:, 1]).sum()),
    )


def _resampled(patients: Patients, resamples: int, generator: Generator) -> Iterator[NDArray[np.float64]]:
    """How often each image is in a resample: (some resamples, N) at a time, as often as its patient was drawn."""
    unique, owner = np.unique(patients, return_inverse=True)
    at_once = max(1, _CELLS_AT_ONCE // len(patients))
    for first in range(0, resamples, at_once):
        count = min(at_once, resamples - first)
        drawn = generator.integers(len(unique), size=(count, len(unique))) + len(unique) * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * len(unique)).reshape(count, len(unique))
        yield times[:, owner].astype(np.float64)


def _statistics(
    weights: NDArray[np.float64], truth: Codes, likely: Likely, predicted: Codes, folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Accuracy, balanced accuracy, AUC, and the sensitivity and specificity of each class, NaN where undefined.

    Args:
        weights: (R, N), how often each image counts; whole numbers, which sums of float64 keep exact.
        truth: (N,).
        likely: (N, C).
        predicted: (N,).
        folds: (N,), within which images are ranked.

    Returns:
        (R, 3 + 2 C).
    """
    identity = np.eye(likely.shape[1])
    of_class, taken_for = identity[truth], identity[predicted]
    images = weights.sum(axis=1, keepdims=True)
    actual, claimed, right = weights @ of_class, weights @ taken_for, weights @ (of_class * taken_for)
    with np.errstate(invalid="ignore"):  # 0 of 0 is NaN, as it shall be
        sensitivity = right / actual
        specificity = (images - actual - claimed + right) / (images - actual)
    present = np.unique(truth)
    mixed = [fold for fold in np.unique(folds) if len(np.unique(truth[folds == fold])) > 1]
    paired = np.unique(truth[np.isin(folds, mixed)])
    # Of two classes, the AUC of either is the same.
    asked = paired if likely.shape[1] > 2 else paired[paired == 1]
    aucs = [_auc(weights, truth == code, likely[:, code], folds) for code in asked]
    return np.column_stack(
        [
            right.sum(axis=1) / images[:, 0],
            sensitivity[:, present].mean(axis=1),
            np.mean(aucs, axis=0) if aucs else np.full(len(weights), np.nan),
            sensitivity,
            specificity,
        ]
    )


def _auc(
    weights: NDArray[np.float64], positive: NDArray[np.bool_], likely: NDArray[np.float64], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """For each row of weights, in which share of the pairs within folds the positive image ranks above the other one.

    Of one fold it is the area under the ROC curve.
    """
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for fold in np.unique(folds):
        inside, outside = positive & (folds == fold), ~positive & (folds == fold)
        order = np.argsort(likely[outside])
        ranked = likely[outside][order]
        below = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, outside][:, order], axis=1, out=below[:, 1:])
        first, last = (np.searchsorted(ranked, likely[inside], side) for side in ("left", "right"))
        detected = weights[:, inside]
        wins += (detected * (below[:, first] + below[:, last])).sum(axis=1) / 2
        pairs += detected.sum(axis=1) * below[:, -1]
    with np.errstate(invalid="ignore"):  # as in `_statistics`
        return wins / pairs


def _interval(estimate: float, replicates: NDArray[np.float64]) -> Interval:
    outside = (1 - CONFIDENCE) / 2
    low = np.quantile(np.nan_to_num(replicates, nan=0.0), outside)
    high = np.quantile(np.nan_to_num(replicates, nan=1.0), 1 - outside)
    return Interval(float(estimate), float(low), float(high))


def _check(truth: Codes, likely: Likely, *others: NDArray[np.int64]) -> None:
    if truth.ndim != 1 or likely.ndim != 2 or any(len(each) != len(truth) for each in (likely, *others)):
        shapes = ", ".join(str(each.shape) for each in (truth, likely, *others))
        raise ValueError(f"classes, probabilities and what else is told of images, {shapes}, are not of one set")
    if not len(truth):
        raise ValueError("without images there is nothing to score")
    if not 0 <= truth.min() <= truth.max() < likely.shape[1]:
        raise ValueError(f"classes from {truth.min()} to {truth.max()} are not among {likely.shape[1]}")
    if not np.isfinite(likely).all():
        raise ValueError("the probabilities are not all finite")
