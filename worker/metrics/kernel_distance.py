"""Kernel distance, known as KID with Inception features (Bińkowski et al. 2018): it has no bias from few images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.metrics.features import Features, check_features

SUBSETS = 100
SUBSET_IMAGES = 1_000


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the squared maximum mean discrepancy over random subsets.

    Between equal distributions the mean is 0 on average, so it may be a little below, as it is for a set against
    itself. The deviation is that of one subset of `subset_images` of each kind, not the error of the mean.
    """

    mean: float
    standard_deviation: float
    subsets: int
    subset_images: int


def kernel_distance(
    reference: Features, synthetic: Features, *, seed: int, subsets: int = SUBSETS, subset_images: int = SUBSET_IMAGES
) -> KernelDistance:
    """The squared discrepancy of `subsets` pairs of subsets, each drawn without replacement.

    A subset has no more than half of the smaller set: of larger ones, many would hold the same images and their
    spread would vanish. Its size does not move the mean, which has no bias.

    Raises:
        InvalidRequest: one of the sets has fewer than four images.
        ValueError: the sets cannot be compared, see `check_features`.
    """
    check_features(reference, synthetic, at_least=4)
    size = min(subset_images, len(reference) // 2, len(synthetic) // 2)
    generator = np.random.default_rng(seed)
    discrepancies = [
        squared_discrepancy(
            generator.choice(reference, size, replace=False), generator.choice(synthetic, size, replace=False)
        )
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(discrepancies)), float(np.std(discrepancies)), subsets, size)


def squared_discrepancy(first: Features, second: Features) -> float:
    """The unbiased estimate of MMD² (Gretton et al. 2012, eq. 3) by the kernel (xᵀy / dimensions + 1)³; symmetric."""
    across = _cubic_kernel(first, second)
    return _mean_of_different(first) + _mean_of_different(second) - 2 * float(across.mean())


def _mean_of_different(features: Features) -> float:
    """The kernel's mean over pairs of different images."""
    within = _cubic_kernel(features, features)
    return float((within.sum() - within.trace()) / (len(features) * (len(features) - 1)))


def _cubic_kernel(first: Features, second: Features) -> NDArray[np.float64]:
    """A row for each of `first`, a column for each of `second`."""
    base: NDArray[np.float64] = first @ second.T / first.shape[1] + 1
    # NumPy's power, which scikit-learn's polynomial_kernel takes, makes the whole metric four times as slow.
    return base * base * base
