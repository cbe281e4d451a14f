"""Whether one arm of a study is right more often than another on the same images, or by chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test  # type: ignore[import-untyped]  # it ships no types
from statsmodels.stats.contingency_tables import mcnemar  # type: ignore[import-untyped]
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from worker.study.folds import Codes, Patients

PERMUTATIONS = 9_999
"""All there are are taken where there are fewer, else so many by chance: no p value is below 2 / 10,000."""
_PERMUTATIONS_AT_ONCE = 256
"""Bounds the memory."""


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same images.

    `difference` is accuracy of the second less that of the first, in [-1, 1]; `p_value` is two-sided, of no difference;
    `adjusted_p_value` is that of Holm's correction for all comparisons that are made together.
    """

    first: str
    second: str
    difference: float
    p_value: float
    adjusted_p_value: float
    test: Literal["mcnemar", "permutation"]


def compare(
    truth: Codes,
    predicted: Mapping[str, Codes],
    patients: Patients,
    *,
    pairs: Sequence[tuple[str, str]],
    seed: int,
) -> tuple[Comparison, ...]:
    """Compare pairs of arms by who is right on which image, all folds together.

    Where each image is of another patient, by McNemar's exact test (McNemar 1947; binomial, of the images on which one
    arm alone is right). Else by a permutation test in which a patient's images change arms together: images of one
    patient are alike, and McNemar's test would take them for so many witnesses.

    Args:
        truth: the class of each image.
        predicted: by arm, the class that each image was taken for.
        patients: whose image it is.
        pairs: the names of the arms to compare, in this order.
        seed: of the permutations; McNemar's test needs none.

    Raises:
        ValueError: there is no image, or the arms are not of the same images.
    """
    if not len(truth) or any(codes.shape != truth.shape for codes in (patients, *predicted.values())):
        raise ValueError(f"arms and patients of the same images are needed, and {truth.shape} classes are known")
    right = {arm: codes == truth for arm, codes in predicted.items()}
    unique, owner = np.unique(patients, return_inverse=True)
    test: Literal["mcnemar", "permutation"] = "mcnemar" if len(unique) == len(patients) else "permutation"
    p_values = [
        _by_mcnemar(right[first], right[second])
        if test == "mcnemar"
        else _by_permutation(_by_patient(right[first], owner), _by_patient(right[second], owner), seed)
        for first, second in pairs
    ]
    adjusted = multipletests(p_values, method="holm")[1]
    return tuple(
        Comparison(first, second, _difference(right[first], right[second]), p_value, float(corrected), test)
        for (first, second), p_value, corrected in zip(pairs, p_values, adjusted, strict=True)
    )


def _difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(second) - np.count_nonzero(first)) / len(first)


def _by_patient(right: NDArray[np.bool_], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """On how many images of each patient an arm is right."""
    return np.bincount(owner[right], minlength=owner.max() + 1)


def _by_mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    only_first, only_second = np.count_nonzero(first & ~second), np.count_nonzero(second & ~first)
    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)


def _by_permutation(first: NDArray[np.int64], second: NDArray[np.int64], seed: int) -> float:
    """Exchange the arms of any patients: `first` and `second` are by patient, see `_by_patient`."""
    # Whoever is served alike by both arms changes nothing; without them there are more often all permutations.
    differing = first != second
    if np.count_nonzero(differing) < 2:  # of one patient, either arrangement is as far from no gain
        return 1.0
    outcome = permutation_test(
        (first[differing], second[differing]),
        _gain,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=_PERMUTATIONS_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    return float(outcome.pvalue)


def _gain(first: NDArray[np.int64], second: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    gain: NDArray[np.int64] = (second - first).sum(axis=axis)
    return gain
