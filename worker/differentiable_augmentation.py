"""Random changes of images that gradients flow through (DiffAugment: Zhao et al. 2020, arXiv:2006.10738).

The discriminator sees nothing but changed images, real and generated ones, while either network is taught. So it cannot
learn small datasets by heart, and the generator does not learn to draw the changes.

Every range is that of the authors' code. Their images are in [-1, 1] and ours in [0, 1]: brightness changes by half as
much, and their zero, which fills what is left empty, is GREY. As there, pixels may end up outside of the range.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from worker.models.base import Augmentation

GREY = 0.5
BRIGHTNESS = 0.25
"""At most so much is added or taken away."""
CONTRAST = (0.5, 1.5)
TRANSLATION = 1 / 8
"""Of a side, at most."""
CUTOUT = 1 / 2
"""Of a side."""
NUMBERS = 6
"""Random numbers for an image. Each change has its own, so that none depends on which others there are."""


def augment(images: tf.Tensor, numbers: tf.Tensor, chosen: "Collection[Augmentation]") -> tf.Tensor:
    """Images, each changed by numbers of its own.

    Args:
        images: float32 (B, S, S, 1) in [0, 1].
        numbers: float32 (B, NUMBERS), uniform in [0, 1).
        chosen: Which changes; they are made in the order of CHANGES.

    Returns:
        float32 (B, S, S, 1).
    """
    for name, (change, first, last) in CHANGES.items():
        if name in chosen:
            images = change(images, numbers[:, first:last])
    return images


def _brightness(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    return images + _by_image((2.0 * numbers[:, 0] - 1.0) * BRIGHTNESS)


def _contrast(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    lowest, highest = CONTRAST
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * _by_image(lowest + (highest - lowest) * numbers[:, 0])


def _translation(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    side = images.shape[1]
    most = _rounded(side * TRANSLATION)
    bordered = tf.pad(images, [(0, 0), (most, most), (most, most), (0, 0)], constant_values=GREY)
    first = _whole(numbers, 2 * most + 1)[..., tf.newaxis] + tf.range(side)
    return tf.gather(tf.gather(bordered, first[:, 0], axis=1, batch_dims=1), first[:, 1], axis=2, batch_dims=1)


def _cutout(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    side = images.shape[1]
    length = _rounded(side * CUTOUT)
    # The middle may be on the border, so that part of the square is outside.
    first = _whole(numbers, side + 1 - length % 2) - length // 2
    distance = tf.range(side) - first[..., tf.newaxis]
    within = (distance >= 0) & (distance < length)
    square = within[:, 0, :, tf.newaxis, tf.newaxis] & within[:, 1, tf.newaxis, :, tf.newaxis]
    return tf.where(square, GREY, images)


def _rounded(pixels: float) -> int:
    """To the nearest whole number, halves up."""
    return int(pixels + 0.5)


def _whole(numbers: tf.Tensor, count: int) -> tf.Tensor:
    """Whole numbers from 0 to `count` - 1, of the shape of `numbers`."""
    return tf.cast(tf.floor(numbers * count), tf.int32)


def _by_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]


CHANGES: "dict[Augmentation, tuple[Callable[[tf.Tensor, tf.Tensor], tf.Tensor], int, int]]" = {
    "brightness": (_brightness, 0, 1),
    "contrast": (_contrast, 1, 2),
    "translation": (_translation, 2, 4),
    "cutout": (_cutout, 4, 6),
}
"""Each change, and which of an image's numbers are its own: from one up to, not including, another."""
