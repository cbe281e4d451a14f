"""The networks of the DCGAN families: Radford et al. 2016 with up-sampling and 5x5 convolutions in place of strides."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

KERNEL = 5
SLOPE = 0.2
"""Of LeakyReLU below zero."""
MOMENTUM = 0.9
"""Of the batch-norm statistics."""

Blocks = Sequence[tuple[int, int]]
"""Channels of each block, and the factor by which it enlarges (generator) or reduces (discriminator): 1 or 2."""


def generator(*, latent_size: int, start: tuple[int, int], blocks: Blocks, width: float, dropout: float) -> keras.Model:
    """Latent points (B, latent_size) to images (B, S, S, 1) in (0, 1).

    Args:
        latent_size: Coordinates of a latent point.
        start: Pixels on a side, and channels, of the first feature map.
        blocks: Each one is nearest-neighbour up-sampling, transposed convolution, batch norm, ReLU.
        width: Times every number of channels but the last.
        dropout: Share dropped after the first ReLU.
    """
    side, channels = start[0], scaled(start[1], width)
    network = [
        keras.Input((latent_size,)),
        layers.Dense(side * side * channels),
        batch_norm(),
        layers.ReLU(),
        layers.Dropout(dropout),
        layers.Reshape((side, side, channels)),
    ]
    for filters, enlargement in blocks:
        convolution = DoublingConvolution if enlargement == 2 else layers.Conv2DTranspose
        network += [convolution(scaled(filters, width), KERNEL, padding="same"), batch_norm(), layers.ReLU()]
    # The sigmoid stays in float32 whatever precision the rest runs in.
    network += [layers.Conv2DTranspose(1, KERNEL, padding="same"), layers.Activation("sigmoid", dtype="float32")]
    return keras.Sequential(network, name="generator")


def discriminator(*, image_size: int, blocks: Blocks, width: float, dropout: float) -> keras.Model:
    """Images (B, S, S, 1) in [0, 1] to logits (B, 1).

    Args:
        image_size: Pixels on a side.
        blocks: Each one is convolution with a stride, LeakyReLU, dropout.
        width: Times every number of channels.
        dropout: Share dropped after each LeakyReLU.
    """
    network = [keras.Input((image_size, image_size, 1))]
    for filters, stride in blocks:
        network += [
            layers.Conv2D(scaled(filters, width), KERNEL, strides=stride, padding="same"),
            layers.LeakyReLU(negative_slope=SLOPE),
            layers.Dropout(dropout),
        ]
    network += [layers.Flatten(), layers.Dense(1, dtype="float32")]
    return keras.Sequential(network, name="discriminator")


class DoublingConvolution(layers.Conv2DTranspose):  # type: ignore[misc] # Keras ships no types
    """Nearest-neighbour up-sampling by 2 and a 5x5 transposed convolution of stride 1, with the latter's weights.

    A window of 5x5 pixels of the enlarged map covers no more than 3x3 of the small one. So this is one 3x3
    convolution of the small map onto four times the channels, one set for each corner of a pixel that was doubled,
    whose weights are sums of the 5x5 ones: exact, borders included, with 2.78 times fewer multiplications.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # A transposed convolution of stride 1 is a convolution with the kernel mirrored.
        mirrored = tf.reverse(tf.convert_to_tensor(self.kernel), [0, 1])
        covers = tf.constant(COVERS, mirrored.dtype)
        small = tf.einsum("pak,qbl,kloi->abipqo", covers, covers, mirrored)
        small = tf.reshape(small, (3, 3, inputs.shape[-1], 4 * self.filters))
        corners = tf.nn.conv2d(inputs, small, strides=1, padding="SAME")
        return tf.nn.bias_add(tf.nn.depth_to_space(corners, 2), tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return batch, height and 2 * height, width and 2 * width, self.filters


COVERS = np.array(
    [
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
    ]
)
"""Along one axis: for the first and second half of a doubled pixel, which of 5 taps fall on which of 3 pixels."""


def batch_norm() -> layers.Layer:
    """Batch normalisation over the global batch: statistics are exchanged where there is more than one device."""
    return layers.BatchNormalization(
        momentum=MOMENTUM, synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1
    )


def scaled(channels: int, width: float) -> int:
    """Channels times a width, at least one."""
    return max(1, round(channels * width))
