"""Changes of an image by which a network learns without labels: it has to tell which one an image underwent.

Features that are learnt by predicting a transformation follow what it changes (Zhang et al. 2019, "AET vs. AED:
Unsupervised Representation Learning by Auto-Encoding Transformations Rather Than Data"). Quarter turns alone, the usual
choice, can be told from the outline of a chest. So there are small moves, which need the anatomy's places, and changes
of grey values, sharpness and grain, which are what generators get wrong.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

BLURS = (0.6, 1.2)
"""Standard deviations of the Gaussian, in pixels."""
GRAINS = (5.0, 12.0)
"""Standard deviations of the noise, in grey levels."""
GAMMAS = (0.7, 1.4)
ROTATIONS = (-6.0, 6.0)
"""Degrees."""
ENLARGEMENTS = (0.9, 1.12)
SHIFTS = (-0.07, 0.07)
"""Shares of the image's side, along either axis."""

GreyValues = NDArray[np.float64]
"""(N, S, S), 0 black to 255 white."""
Distortion = Callable[[GreyValues, Generator], GreyValues]


def _blur(deviation: float, images: GreyValues, _: Generator) -> GreyValues:
    return np.asarray(ndimage.gaussian_filter(images, deviation, axes=(1, 2)))


def _grain(deviation: float, images: GreyValues, chance: Generator) -> GreyValues:
    return images + chance.normal(0, deviation, images.shape)


def _gamma(exponent: float, images: GreyValues, _: Generator) -> GreyValues:
    return np.asarray(255 * (images / 255) ** exponent)


def _move(
    images: GreyValues, _: Generator, *, degrees: float = 0, enlargement: float = 1, shift: Sequence[float] = (0, 0)
) -> GreyValues:
    """Rotate and enlarge about the middle, then shift; what moves in from beyond the edge is the edge."""
    side = images.shape[1]
    angle, middle = np.deg2rad(degrees), np.full(2, (side - 1) / 2)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / enlargement
    offset = middle - matrix @ (middle + side * np.asarray(shift))
    moved = [ndimage.affine_transform(image, matrix, offset, order=1, mode="nearest") for image in images]
    return np.stack(moved)


def _nothing(images: GreyValues, _: Generator) -> GreyValues:
    return images


DISTORTIONS: tuple[Distortion, ...] = (
    _nothing,
    *(partial(_blur, deviation) for deviation in BLURS),
    *(partial(_grain, deviation) for deviation in GRAINS),
    *(partial(_gamma, exponent) for exponent in GAMMAS),
    *(partial(_move, degrees=degrees) for degrees in ROTATIONS),
    *(partial(_move, enlargement=enlargement) for enlargement in ENLARGEMENTS),
    *(partial(_move, shift=(share, 0)) for share in SHIFTS),
    *(partial(_move, shift=(0, share)) for share in SHIFTS),
)


def distorted(images: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Every image under every distortion, and by which.

    Args:
        images: uint8 (N, S, S).
        seed: of the grain.

    Returns:
        uint8 (D N, S, S) for D distortions, and their places in DISTORTIONS, int64 (D N,).
    """
    chance = np.random.default_rng(seed)
    greys = images.astype(np.float64)
    changed = [np.rint(distort(greys, chance)).clip(0, 255).astype(np.uint8) for distort in DISTORTIONS]
    return np.concatenate(changed), np.repeat(np.arange(len(DISTORTIONS)), len(images))
