"""What everything drawn is made of: planes of one value a pixel, and soft shapes on them."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 256
"""Pixels on a side."""

Plane = NDArray[np.floating[Any]]
"""A value for each pixel, float32 (SIZE, SIZE)."""


@cache
def grid() -> tuple[Plane, Plane]:
    """Every pixel's x and y, from -1 to 1, to the right and downwards."""
    # A block of this size, freed once, tells glibc to keep freed memory at hand. Otherwise every plane is given back
    # to the system and taken anew page by page, which takes twice as long as all the drawing.
    np.empty(2**24, np.uint8)
    axis = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / SIZE) - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def step(distance: Plane, width: float) -> Plane:
    """0 well below zero, 1 well above it, smooth over `width` between."""
    t = distance * np.float32(1 / width) + np.float32(0.5)
    np.clip(t, 0, 1, out=t)
    smooth: Plane = t * t * (3 - 2 * t)
    return smooth


def ball(squared: Plane) -> Plane:
    """The way of a ray through a ball, 1 in its middle, given the squared distance from there in radii."""
    return np.sqrt(np.clip(1 - squared, 0, None))


def bump(distance: Plane, width: float) -> Plane:
    """1 at no distance, half at `width`, nothing from 1.85 times that on: like a Gaussian, and much cheaper."""
    t: Plane = distance * np.float32(0.5412 / width)
    t *= t
    np.subtract(1, t, out=t)
    np.maximum(t, 0, out=t)
    return np.square(t)


def tubes(phase: Plane, radius: float) -> Plane:
    """Parallel tubes, one for each whole number of the phase; their walls are denser than their marrow."""
    off = (phase - np.floor(phase) - np.float32(0.5)) * np.float32(1 / radius)
    squared = off * off
    walled: Plane = ball(squared) * (0.65 + 0.8 * squared)
    return walled
