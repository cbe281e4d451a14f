"""Every random draw of a training or generation, from the seed and a position alone (Philox: Salmon et al. 2011).

Nothing depends on what was drawn before, so a resumed training sees what an uninterrupted one would have seen, and
image i of a seed is the same whatever else is drawn.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_ALGORITHM = "philox"
"""Named, since only then TensorFlow draws the same on every kind of device."""


class _Stream(IntEnum):
    """Part of the key, so that the streams of one seed never meet."""

    IMAGES = 0
    REAL_BATCHES = 1
    LATENT_BATCHES = 2
    CLASS_BATCHES = 3
    AUGMENTATIONS = 4
    VARIANTS = 5


def latent_points(seed: int, first: int, count: int, size: int) -> NDArray[np.float32]:
    """Points `first` to `first + count - 1` of a seed's sequence.

    Returns:
        float32 (count, size), uniform in [-1, 1]; point i depends on the seed and i alone.
    """
    points = np.empty((count, size), np.float32)
    for row in range(count):
        points[row] = _generator(seed, _Stream.IMAGES, first + row).uniform(-1.0, 1.0, size)
    return points


def codes_in_turn(classes: int, count: int) -> NDArray[np.int32] | None:
    """The class codes of so many images that take the classes in turn: int32 (count,); None without classes."""
    return np.arange(count, dtype=np.int32) % classes if classes else None


def real_batches(seed: int, step: tf.Tensor | int, shape: tuple[int, ...], population: int) -> tf.Tensor:
    """Which images a training step sees, drawn with replacement: int64 of `shape`, from 0 to `population` - 1."""
    return tf.random.stateless_uniform(
        shape, _key(seed, _Stream.REAL_BATCHES, step), 0, population, tf.int64, alg=_ALGORITHM
    )


def class_batches(seed: int, step: tf.Tensor | int, shape: tuple[int, ...], classes: int) -> tf.Tensor:
    """The classes that a training step sees, each as often as any other: int32 of `shape`, from 0 to `classes` - 1."""
    return tf.random.stateless_uniform(
        shape, _key(seed, _Stream.CLASS_BATCHES, step), 0, classes, tf.int32, alg=_ALGORITHM
    )


def member_batches(seed: int, step: tf.Tensor | int, codes: tf.Tensor, class_sizes: Sequence[int]) -> tf.Tensor:
    """Which images of its classes a training step sees, drawn with replacement: int64 of the shape of the codes.

    The images of class 0 have the positions 0 to `class_sizes[0]` - 1, and those of the next class follow.
    """
    sizes = tf.constant(class_sizes, tf.int64)
    # One draw for classes of all sizes: of so many numbers, the remainder favours none by more than 2^-39.
    drawn = tf.random.stateless_uniform(
        codes.shape, _key(seed, _Stream.REAL_BATCHES, step), 0, tf.int64.max, tf.int64, alg=_ALGORITHM
    )
    within = tf.math.floormod(drawn, tf.gather(sizes, codes))
    return tf.gather(tf.cumsum(sizes, exclusive=True), codes) + within


def latent_batches(seed: int, step: tf.Tensor | int, shape: tuple[int, ...]) -> tf.Tensor:
    """The latent points of a training step: float32 of `shape`, uniform in [-1, 1)."""
    return tf.random.stateless_uniform(shape, _key(seed, _Stream.LATENT_BATCHES, step), -1.0, 1.0, alg=_ALGORITHM)


def augmentation_numbers(seed: int, step: tf.Tensor | int, shape: tuple[int, ...]) -> tf.Tensor:
    """What the images of a training step are changed by: float32 of `shape`, uniform in [0, 1)."""
    return tf.random.stateless_uniform(shape, _key(seed, _Stream.AUGMENTATIONS, step), alg=_ALGORITHM)


def variant_chance(seed: int, step: int) -> np.random.Generator:
    """What the variants of a training step's real images are drawn by (`worker.classical_augmentation`)."""
    return _generator(seed, _Stream.VARIANTS, step)


def _generator(seed: int, stream: _Stream, position: int) -> np.random.Generator:
    # The position is the counter's highest word: 2^192 blocks lie between one position and the next.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, position]))


def _key(seed: int, stream: _Stream, step: tf.Tensor | int) -> tf.Tensor:
    with tf.device("CPU:0"):  # where random operations want their key, whatever they run on
        return tf.stack([tf.constant(seed + (stream << 32), tf.int64), tf.cast(step, tf.int64)])
