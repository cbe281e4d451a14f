"""How far apart the small patches of two sets of images are, at each size of detail.

The sliced Wasserstein distance over a Laplacian pyramid (Karras et al. 2018, "Progressive Growing of GANs", section 5).
Patches of each set are normalised by themselves, so it does not see the brightness and contrast of a set, nor where in
an image a patch belongs. Two samples of one population are never at distance 0: put that of real images to as many
other real ones beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

PATCH_PIXELS = 7
PATCHES_PER_IMAGE = 128
DIRECTIONS = 512
SMALLEST_LEVEL = 16
"""Pixels on a side; smaller levels would hold hardly more than one patch."""
DIRECTIONS_AT_ONCE = 16
"""Bounds the memory of the projections: 8 kB for each image of a set."""
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The smoothing kernel along one axis (Burt and Adelson 1983, a = 3/8)."""


@dataclass(frozen=True)
class LevelDistance:
    """The distance of one level, times 1,000; `pixels` is the level's side."""

    pixels: int
    distance: float


@dataclass(frozen=True)
class SlicedWassersteinDistance:
    """The distance of each level, the full size first, and their mean, all times 1,000.

    A level holds the details that the next one is too small for; the last one holds all that is left.
    """

    levels: tuple[LevelDistance, ...]
    mean: float


def sliced_wasserstein_distance(
    real: NDArray[np.uint8], synthetic: NDArray[np.uint8], seed: int
) -> SlicedWassersteinDistance:
    """Compare random patches of two sets of as many images, projected onto random directions.

    Patches are taken from the same places of image i of both sets, so that the distance of a set to itself is 0, and no
    part of a distance comes from where patches were taken. Memory grows by some 170 kB for each image of 64 pixels:
    of a large set, give it a sample.

    Args:
        real: uint8 (N, S, S).
        synthetic: the same shape.
        seed: chooses patches and directions.

    Raises:
        ValueError: the shapes differ, there are no images, or they are smaller than SMALLEST_LEVEL.
    """
    if real.shape != synthetic.shape:
        raise ValueError(f"the sets are {real.shape} and {synthetic.shape}: take as many images of one size of both")
    count, size = real.shape[:2]
    if not count or size < SMALLEST_LEVEL:
        raise ValueError(f"{count} images of {size} pixels: there must be some, of {SMALLEST_LEVEL} pixels or more")
    chance = np.random.default_rng(seed)
    levels = []
    for ours, theirs in zip(laplacian_pyramid(real), laplacian_pyramid(synthetic), strict=True):
        pixels = ours.shape[1]
        corners = chance.integers(pixels - PATCH_PIXELS + 1, size=(2, count, PATCHES_PER_IMAGE))
        directions = chance.standard_normal((DIRECTIONS, PATCH_PIXELS**2)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        distance = _distance(_patches(ours, corners), _patches(theirs, corners), directions)
        levels.append(LevelDistance(pixels, 1000 * distance))
    return SlicedWassersteinDistance(tuple(levels), float(np.mean([level.distance for level in levels])))


def laplacian_pyramid(images: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Split images into bands of frequencies (Burt and Adelson 1983), the finest first.

    Args:
        images: uint8 (N, S, S), S at least SMALLEST_LEVEL.

    Yields:
        float32 (N, s, s): the levels, s half of the one before, rounded up, down to SMALLEST_LEVEL. The last is the
        reduced image itself. Each, expanded and added to the one before, gives back the images.
    """
    level = images.astype(np.float32)
    while (level.shape[1] + 1) // 2 >= SMALLEST_LEVEL:
        reduced = np.ascontiguousarray(_smooth(level)[:, ::2, ::2])
        yield level - _expand(reduced, level.shape[1])
        level = reduced
    yield level


def _expand(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    spread = np.zeros((len(images), size, size), np.float32)
    spread[:, ::2, ::2] = 4 * images
    return _smooth(spread)


def _smooth(images: NDArray[np.float32]) -> NDArray[np.float32]:
    for axis in (1, 2):
        images = ndimage.correlate1d(images, _BINOMIAL, axis, mode="mirror")
    return images


def _patches(level: NDArray[np.float32], corners: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cut patches at rows and columns (2, N, P) and normalise them together: (N * P, PATCH_PIXELS ** 2).

    They get a mean of 0 and a standard deviation of 1, or stay 0 where a level is flat: a set of blank images has no
    contrast to divide by.
    """
    windows = sliding_window_view(level, (PATCH_PIXELS, PATCH_PIXELS), axis=(1, 2))
    rows, columns = corners
    patches: NDArray[np.float32] = windows[np.arange(len(level))[:, np.newaxis], rows, columns].reshape(
        -1, PATCH_PIXELS**2
    )
    patches -= patches.mean(dtype=np.float64)
    patches /= patches.std(dtype=np.float64) or 1
    return patches


def _distance(ours: NDArray[np.float32], theirs: NDArray[np.float32], directions: NDArray[np.float32]) -> float:
    """The mean over directions of the Wasserstein distance of order 1 between projections.

    Of as many points on a line, that is the mean distance between those of equal rank.
    """
    total = 0.0
    for some in np.split(directions, range(DIRECTIONS_AT_ONCE, len(directions), DIRECTIONS_AT_ONCE)):
        ranked = [np.sort(some @ patches.T, axis=1) for patches in (ours, theirs)]
        total += float(np.abs(ranked[0] - ranked[1]).mean(axis=1, dtype=np.float64).sum())
    return total / len(directions)
