"""How alike images look, at several scales, and by it how varied a set of images is.

Multi-scale structural similarity, MS-SSIM (Wang, Simoncelli and Bovik 2003): near 1 for two images that look the same,
near 0 for two that have nothing in common. Two images of a generator that makes only a few are alike, so a mean over
random pairs shows a mode collapse (Odena et al. 2017, "Conditional Image Synthesis with AC-GANs", section 4.2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, the full size first (Wang et al. 2003, section 3.2)."""
WINDOW_PIXELS = 11
WINDOW_SIGMA = 1.5
SAMPLES = 10
"""Samples of a set by which the spread of its mean is told."""
PAIRS_PER_SAMPLE = 250
FEWEST_IMAGES = 4
"""Of which a half is a pair."""
PIXELS_AT_ONCE = 2**18
"""Bounds the memory of the comparison, and keeps it near that of a processor's caches."""
_RADIUS = WINDOW_PIXELS // 2
_LUMINANCE_CONSTANT = (0.01 * 255) ** 2
_CONTRAST_CONSTANT = (0.03 * 255) ** 2
"""C1 and C2, which keep the quotients of dark and of flat windows finite (Wang et al. 2003, eq. 4)."""


@dataclass(frozen=True)
class Diversity:
    """The mean MS-SSIM of two different images of a set, for the real and for the synthetic ones.

    `scales`: the number of scales compared, which hangs on the size of the images: values of different numbers do not
    compare. `real`, `synthetic`: the means, over SAMPLES samples of `pairs` pairs each; less is more varied. Less than
    real is no praise: noise has the least. `real_spread`: the largest less the smallest of the real samples.
    `warning`: a sentence if the synthetic images are less varied than the real ones by more than that, else None.
    """

    scales: int
    pairs: int
    real: float
    real_spread: float
    synthetic: float
    warning: str | None


def scales(pixels: int) -> int:
    """The number of scales at which images of so many pixels on a side, halved each time, hold a window: up to 5.

    Raises:
        ValueError: they hold none.
    """
    number = 0
    while pixels >= WINDOW_PIXELS and number < len(SCALE_WEIGHTS):
        number, pixels = number + 1, (pixels + 1) // 2
    if not number:
        raise ValueError(f"images of {pixels} pixels are smaller than the window of {WINDOW_PIXELS}")
    return number


def structural_similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The MS-SSIM of each image with its counterpart (Wang et al. 2003, eq. 7), at as many scales as `scales` tells.

    The exponents of the scales used are divided by their sum, so that few scales and many have one range. The windows
    are those wholly within an image. A mean contrast-structure below 0, of images where one is bright where the other
    is dark, counts as 0, since a power of it would be complex.

    Args:
        first: uint8 (N, S, S), S at least WINDOW_PIXELS.
        second: the same shape.

    Returns:
        (N,), 0 to 1.

    Raises:
        ValueError: the shapes differ, or the images are smaller than the window.
    """
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape}: each image needs a counterpart of its size")
    exponents = np.array(SCALE_WEIGHTS[: scales(first.shape[1])])
    exponents /= exponents.sum()
    at_once = max(1, PIXELS_AT_ONCE // first[0].size) if len(first) else 1
    values = np.empty(len(first))
    for start in range(0, len(first), at_once):
        block = slice(start, start + at_once)
        values[block] = _compare(first[block].astype(np.float64), second[block].astype(np.float64), exponents)
    return values


def diversity(real: NDArray[np.uint8], synthetic: NDArray[np.uint8], seed: int) -> Diversity:
    """Tell whether synthetic images resemble each other more than real ones do: the alarm for a mode collapse.

    Means are taken over samples of as many images of both sets, of half the smaller set or less: they vary at least as
    much as the mean of a new set would, while samples of all images would vary too little. Images of different classes
    are less alike than those of one: compare class by class, or sets of the same shares. A collapse to a handful of
    images is found; one to ten or more that happen to be unlike each other may not be, and shows in the recall instead.

    Args:
        real: uint8 (N, S, S), at least FEWEST_IMAGES.
        synthetic: uint8 (M, S, S), likewise.
        seed: chooses images and pairs.

    Raises:
        ValueError: the sizes differ, a set is too small, or its images are smaller than the window.
    """
    count = min(len(real), len(synthetic))
    if count < FEWEST_IMAGES:
        raise ValueError(f"{count} images are too few to tell how varied they are: {FEWEST_IMAGES} are needed")
    if real.shape[1:] != synthetic.shape[1:]:
        raise ValueError(f"similarities of {real.shape[1:]} and of {synthetic.shape[1:]} pixels do not compare")
    chance = np.random.default_rng(seed)
    pairs = min(PAIRS_PER_SAMPLE, count // FEWEST_IMAGES)
    real_means, synthetic_means = (
        np.array([_mean_of_pairs(images, pairs, chance) for _ in range(SAMPLES)]) for images in (real, synthetic)
    )
    mean, spread, synthetic_mean = float(real_means.mean()), float(np.ptp(real_means)), float(synthetic_means.mean())
    return Diversity(
        scales=scales(real.shape[1]),
        pairs=pairs,
        real=mean,
        real_spread=spread,
        synthetic=synthetic_mean,
        warning=_warning(mean, spread, synthetic_mean),
    )


def _warning(real: float, spread: float, synthetic: float) -> str | None:
    if synthetic - real <= spread:
        return None
    return (
        f"Synthetic images resemble each other more than real ones do: MS-SSIM {synthetic:.3f} against {real:.3f}, "
        f"which varies by {spread:.3f} between samples. The generator may have collapsed to a few kinds of image."
    )


def _mean_of_pairs(images: NDArray[np.uint8], pairs: int, chance: Generator) -> float:
    """Over pairs of which no two share an image."""
    drawn = chance.choice(len(images), 2 * pairs, replace=False)
    return float(structural_similarity(images[drawn[:pairs]], images[drawn[pairs:]]).mean())


def _compare(
    first: NDArray[np.float64], second: NDArray[np.float64], exponents: NDArray[np.float64]
) -> NDArray[np.float64]:
    values = np.ones(len(first))
    for exponent in exponents[:-1]:
        _, contrast_structure = _local_similarity(first, second)
        values *= _positive_mean(contrast_structure) ** exponent
        first, second = _halve(first), _halve(second)
    luminance, contrast_structure = _local_similarity(first, second)
    return np.asarray(values * _positive_mean(luminance * contrast_structure) ** exponents[-1])


def _local_similarity(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luminance, and contrast times structure, in each window (Wang et al. 2003, eqs. 1 to 3 with C3 = C2 / 2).

    scikit-image has only their product.
    """
    mean_first, mean_second = _windowed_mean(first), _windowed_mean(second)
    product = mean_first * mean_second
    squares = mean_first**2 + mean_second**2
    covariance = _windowed_mean(first * second) - product
    variances = _windowed_mean(first**2 + second**2) - squares
    luminance = (2 * product + _LUMINANCE_CONSTANT) / (squares + _LUMINANCE_CONSTANT)
    return luminance, (2 * covariance + _CONTRAST_CONSTANT) / (variances + _CONTRAST_CONSTANT)


def _windowed_mean(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian mean of each whole window: (N, S - 10, S - 10)."""
    smooth = ndimage.gaussian_filter(images, WINDOW_SIGMA, radius=_RADIUS, axes=(1, 2))
    return np.asarray(smooth[:, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS])


def _positive_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = values.mean(axis=(1, 2))
    return means.clip(min=0)


def _halve(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each 2 x 2 pixels; an odd last row or column is repeated."""
    odd = images.shape[1] % 2
    padded = np.pad(images, ((0, 0), (0, odd), (0, odd)), mode="edge")
    half = padded.shape[1] // 2
    halved: NDArray[np.float64] = padded.reshape(len(images), half, 2, half, 2).mean(axis=(2, 4))
    return halved
