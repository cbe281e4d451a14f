"""The metrics of an evaluation by name, and those of them that a training can be followed by."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.contract.requests import TrackedMetric
from worker.metrics.density_coverage import density_coverage
from worker.metrics.frechet_distance import frechet_distance
from worker.metrics.intensity_histogram import intensity_distance
from worker.metrics.kernel_distance import kernel_distance
from worker.metrics.power_spectrum import spectral_distance
from worker.metrics.precision_recall import precision_recall
from worker.metrics.sliced_wasserstein import sliced_wasserstein_distance
from worker.metrics.structural_similarity import diversity

MOST_BY_PATCHES = 5_000
"""Images of either kind for the sliced Wasserstein distance, at the most: it takes 170 kB for each of 64 pixels."""

Metric = Callable[[NDArray[Any], NDArray[Any]], Any]
"""Takes real ones first, then synthetic ones, and returns a dataclass of numbers."""

TRACKED: Mapping[TrackedMetric, tuple[str, str]] = {
    "frechet_distance": ("frechet_distance", "distance"),
    "kernel_distance": ("kernel_distance", "mean"),
    "precision": ("precision_recall", "precision"),
    "recall": ("precision_recall", "recall"),
    "density": ("density_coverage", "density"),
    "coverage": ("density_coverage", "coverage"),
    "sliced_wasserstein_distance": ("sliced_wasserstein_distance", "mean"),
}
"""Of which metric each is, and which of its numbers."""


def over_features(seed: int) -> Mapping[str, Metric]:
    """Those that compare features (N, D)."""
    return {
        "frechet_distance": frechet_distance,
        "kernel_distance": partial(kernel_distance, seed=seed),
        "precision_recall": precision_recall,
        "density_coverage": density_coverage,
    }


def over_images(seed: int) -> Mapping[str, Metric]:
    """Those that compare images, uint8 (N, S, S)."""
    return {
        "sliced_wasserstein_distance": partial(_equally_many, partial(sliced_wasserstein_distance, seed=seed)),
        "diversity": partial(diversity, seed=seed),
        "intensity_distance": intensity_distance,
        "spectral_distance": spectral_distance,
    }


def _equally_many(metric: Metric, real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> Any:
    """Of a metric that takes as many images of one kind as of the other; those that come first, for both are drawn."""
    images = min(len(real), len(synthetic), MOST_BY_PATCHES)
    return metric(real[:images], synthetic[:images])
