"""Shares, agreement and detectability with their intervals, of answers that are right or wrong.

SciPy and statsmodels are imported where they are used: that takes a second and 100 MB, for which a front end that shows
no results has no use.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

ALPHA = 0.05
"""Intervals are of 95 %."""


class Estimate(BaseModel):
    """A number with its interval of 95 %; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(value=None, low=None, high=None)


class Share(Estimate):
    """Of `of` answers; the interval is Wilson's (1927)."""

    of: int


def share(of: NDArray[np.bool_]) -> Share:
    """The share of those that are true; null of none."""
    from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]  # it ships no types

    if not len(of):
        return Share(value=None, low=None, high=None, of=0)
    low, high = proportion_confint(int(of.sum()), len(of), alpha=ALPHA, method="wilson")
    return Share(value=float(of.mean()), low=float(low), high=float(high), of=len(of))


def d_prime(hits: NDArray[np.bool_], false_alarms: NDArray[np.bool_]) -> Estimate:
    """How far signals are told from noise, in standard deviations; null without signals, or without noise.

    With the log-linear correction (Hautus 1995): without it, a reader who is never wrong would be infinitely good. The
    interval is by the variance of Gourevitch and Galanter (1967), Macmillan and Creelman 2005, eq. 13.4.

    Args:
        hits: Of each signal, whether it was taken for one.
        false_alarms: Of each noise, whether it was taken for a signal.
    """
    from scipy.stats import norm  # type: ignore[import-untyped]  # it ships no types

    if not len(hits) or not len(false_alarms):
        return UNDEFINED
    points, variance = [], 0.0
    for of in (hits, false_alarms):
        rate = (of.sum() + 0.5) / (len(of) + 1)
        point = norm.ppf(rate)
        variance += rate * (1 - rate) / (len(of) * norm.pdf(point) ** 2)
        points.append(point)
    value, half = points[0] - points[1], norm.ppf(1 - ALPHA / 2) * np.sqrt(variance)
    return Estimate(value=float(value), low=float(value - half), high=float(value + half))


def cohen_kappa(some: NDArray[np.int64], others: NDArray[np.int64], categories: int) -> Estimate:
    """How far two agree beyond chance (Cohen 1960); null if both always say the same one thing.

    Args:
        some: int (N,), what one says of each image, from 0 to `categories` - 1.
        others: What the other says.
        categories: How many answers there are to choose from.
    """
    from scipy.stats import norm
    from statsmodels.stats import inter_rater  # type: ignore[import-untyped]

    if len({*some.tolist(), *others.tolist()}) < 2:
        return UNDEFINED
    table = np.zeros((categories, categories), np.int64)
    np.add.at(table, (some, others), 1)
    # Its test against 0 and its own interval, neither of which is told, may divide by 0, or take the root of less.
    with np.errstate(invalid="ignore"):
        found = inter_rater.cohens_kappa(table)
    half = norm.ppf(1 - ALPHA / 2) * np.sqrt(max(found.var_kappa, 0.0))
    value = float(found.kappa)
    return Estimate(value=value, low=max(value - half, -1.0), high=min(value + half, 1.0))


def fleiss_kappa(told: Sequence[NDArray[np.int64]], categories: int) -> float | None:
    """How far readers agree beyond chance (Fleiss 1971); null of one, or if all always say the same one thing.

    Args:
        told: Of each reader, int (N,), what they say of each image, from 0 to `categories` - 1.
        categories: How many answers there are to choose from.
    """
    from statsmodels.stats import inter_rater

    if len(told) < 2 or len(np.unique(np.concatenate(told))) < 2:
        return None
    votes = sum(np.eye(categories, dtype=np.int64)[answers] for answers in told)
    return float(inter_rater.fleiss_kappa(votes))
