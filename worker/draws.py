"""Every random draw of a training or generation, from the seed and a position alone (Philox: Salmon et al. 2011).

Nothing depends on what was drawn before, so a resumed training sees what an uninterrupted one would have seen, and
image i of a seed is the same whatever else is drawn. Drawn on the host, so the number of devices does not matter.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class _Stream(IntEnum):
    """Half of the generator's key, so that the streams of one seed never meet."""

    IMAGES = 0
    REAL_BATCHES = 1
    LATENT_BATCHES = 2


def latent_points(seed: int, first: int, count: int, size: int) -> NDArray[np.float32]:
    """Points `first` to `first + count - 1` of a seed's sequence.

    Returns:
        float32 (count, size), uniform in [-1, 1]; point i depends on the seed and i alone.
    """
    points = np.empty((count, size), np.float32)
    for row in range(count):
        points[row] = _generator(seed, _Stream.IMAGES, first + row).uniform(-1.0, 1.0, size)
    return points


def real_batches(seed: int, step: int, shape: tuple[int, int], population: int) -> NDArray[np.int64]:
    """Which images a training step sees, drawn with replacement: int64 of `shape`, from 0 to `population` - 1."""
    return _generator(seed, _Stream.REAL_BATCHES, step).integers(population, size=shape)


def latent_batches(seed: int, step: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The latent points of a training step: float32 of `shape`, uniform in [-1, 1]."""
    return _generator(seed, _Stream.LATENT_BATCHES, step).uniform(-1.0, 1.0, shape).astype(np.float32)


def _generator(seed: int, stream: _Stream, position: int) -> np.random.Generator:
    # The position is the counter's highest word: 2^192 blocks lie between one position and the next.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, position]))
