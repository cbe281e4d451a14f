"""How far apart the grey levels of two sets of images are, wherever in the images they stand.

Both distances see brightness and contrast, which distances of structure do not. They do not see structure: pixels in
any other order have the same histogram.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr  # type: ignore[import-untyped]  # it ships no types
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

GREY_LEVELS = 256


@dataclass(frozen=True)
class IntensityDistance:
    """Distances between the distributions of grey levels.

    `wasserstein`: of order 1, in grey levels, 0 to 255: how far a pixel's level must move on average.
    `jensen_shannon`: the square root of the Jensen-Shannon divergence to base 2 (Endres and Schindelin 2003), 0 to 1;
    1 if no level occurs in both sets. Unlike `wasserstein` it counts two neighbouring levels as different altogether,
    so it shows combs and gaps in a histogram.
    """

    wasserstein: float
    jensen_shannon: float


def intensity_histogram(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of pixels of each grey level: (256,), of images of any shape."""
    return np.histogram(images, GREY_LEVELS, (0, GREY_LEVELS))[0]


def intensity_distance(real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> IntensityDistance:
    """Compare the grey levels of two sets of images (N, S, S), whose numbers and sizes may differ.

    Raises:
        ValueError: a set has no images.
    """
    if not (real.size and synthetic.size):
        raise ValueError("a set without images has no grey levels")
    levels = np.arange(GREY_LEVELS)
    real_counts, synthetic_counts = intensity_histogram(real), intensity_histogram(synthetic)
    return IntensityDistance(
        wasserstein=float(wasserstein_distance(levels, levels, real_counts, synthetic_counts)),
        jensen_shannon=_jensen_shannon_distance(real_counts, synthetic_counts),
    )


def _jensen_shannon_distance(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """As `scipy.spatial.distance.jensenshannon`, which gives no number where rounding leaves a divergence below 0."""
    shares, other_shares = first / first.sum(), second / second.sum()
    mixture = (shares + other_shares) / 2
    divergence = np.sum(rel_entr(shares, mixture) + rel_entr(other_shares, mixture)) / (2 * np.log(2))
    return float(np.sqrt(max(divergence, 0)))
