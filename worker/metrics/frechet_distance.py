"""Fréchet distance between two sets of features, each taken as a normal distribution (Heusel et al. 2017)."""

import math
from dataclasses import dataclass

import numpy as np

from worker.metrics.features import Features, check_features

NEEDED_IMAGES, NEEDED_FOR_DIMENSIONS = 10_000, 2_048
"""What the authors' own program asks for with Inception; other features are held to the same ratio.

It is the ratio that matters: of one normal distribution with variance 1 in each of D dimensions, two samples of n are
some D (D + 5) / 2n apart.
"""


@dataclass(frozen=True)
class FrechetDistance:
    """The squared distance, as it is usually published, from 0 up, in squared units of the features.

    `warning` is a sentence if one of the sets has too few images for the dimensions.
    """

    distance: float
    warning: str | None


def frechet_distance(reference: Features, synthetic: Features) -> FrechetDistance:
    """|m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^½) of the means m and covariances C (eq. 6 of the paper); symmetric.

    Raises:
        InvalidRequest: one of the sets has fewer than two images.
        ValueError: the sets cannot be compared, see `check_features`.
    """
    check_features(reference, synthetic, at_least=2)
    first, second = _covariance_factor(reference), _covariance_factor(synthetic)
    # With C = RᵀR, the eigenvalues of C1 C2 are the squared singular values of R1 R2ᵀ. So the trace of the root is
    # their sum: real, also of singular covariances, and to full precision, which a root of C1 C2 loses half of.
    shared = np.linalg.svdvals(first @ second.T).sum()
    apart = np.square(reference.mean(axis=0) - synthetic.mean(axis=0)).sum()
    squared = apart + np.square(first).sum() + np.square(second).sum() - 2 * shared
    # Of equal sets, rounding may leave a little less than nothing.
    return FrechetDistance(max(0.0, float(squared)), _warning(min(len(reference), len(synthetic)), reference.shape[1]))


def _covariance_factor(features: Features) -> Features:
    """The upper triangular R with RᵀR the covariance."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64)


def _warning(images: int, dimensions: int) -> str | None:
    needed = math.ceil(dimensions * NEEDED_IMAGES / NEEDED_FOR_DIMENSIONS)
    if images >= needed:
        return None
    return (
        f"{images:,} images are too few for {dimensions:,} dimensions, which need {needed:,}: the distance comes out "
        "too large. Compare it only with distances at the same number of images, or go by the kernel distance, which "
        "has no bias from few."
    )
