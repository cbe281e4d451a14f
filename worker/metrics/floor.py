"""The floor of a metric: what it gives between real images and other real images.

No generator can be asked for less, of as many images. Few inflate most metrics, so what is compared with a floor is the
metric at the floor's own number of images; a value of more images may be below the floor and yet be bad.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import InvalidRequest

Result = TypeVar("Result")
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Floor(Generic[Result]):
    """A metric's result between two disjoint parts of the reference, of `images` images each."""

    result: Result
    images: int


def floor(
    reference: NDArray[Scalar],
    metric: Callable[[NDArray[Scalar], NDArray[Scalar]], Result],
    *,
    seed: int,
    images: int | None = None,
) -> Floor[Result]:
    """Evaluate a metric between two random halves of a reference, of images or their features.

    Args:
        reference: an array with a row for each image.
        metric: takes two such arrays.
        seed: decides which half an image falls in.
        images: take so many for each half, for results at that number; half of the reference if it has fewer.

    Raises:
        InvalidRequest: the reference has fewer than two images, or halves of it are too small for the metric.
    """
    half = len(reference) // 2
    if not half:
        raise InvalidRequest(f"There are {len(reference)} reference images, and two halves need 2 or more.")
    size = half if images is None else min(images, half)
    order = np.random.default_rng(seed).permutation(len(reference))
    first, second = order[:size], order[size : 2 * size]
    return Floor(metric(reference[first], reference[second]), size)
