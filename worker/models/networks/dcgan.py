"""The networks of the DCGAN families: Radford et al. 2016 with up-sampling and 5x5 convolutions in place of strides."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers

from worker.models.networks.conditioning import EMBEDDING_SIZE, conditional_generator, projection_discriminator
from worker.models.networks.convolutions import Convolution, DoublingConvolution, TransposedConvolution

KERNEL = 5
SLOPE = 0.2
"""Of LeakyReLU below zero."""
MOMENTUM = 0.9
"""Of the batch-norm statistics."""

Blocks = Sequence[tuple[int, int]]
"""Channels of each block, and the factor by which it enlarges (generator) or reduces (discriminator): 1 or 2."""


def generator(
    *, latent_size: int, start: tuple[int, int], blocks: Blocks, width: float, dropout: float, classes: int = 0
) -> keras.Model:
    """Latent points (B, latent_size), and class codes (B,) if there are classes, to images (B, S, S, 1) in (0, 1).

    Args:
        latent_size: Coordinates of a latent point.
        start: Pixels on a side, and channels, of the first feature map.
        blocks: Each one is nearest-neighbour up-sampling, transposed convolution, batch norm, ReLU.
        width: Times every number of channels but the last.
        dropout: Share dropped after the first ReLU.
        classes: To tell apart; 0 for a network that takes no codes.
    """
    side, channels = start[0], scaled(start[1], width)
    network = [
        keras.Input((latent_size + (EMBEDDING_SIZE if classes else 0),)),
        layers.Dense(side * side * channels),
        batch_norm(),
        layers.ReLU(),
        layers.Dropout(dropout),
        layers.Reshape((side, side, channels)),
    ]
    for filters, enlargement in blocks:
        convolution = DoublingConvolution if enlargement == 2 else TransposedConvolution
        network += [convolution(scaled(filters, width), KERNEL), batch_norm(), layers.ReLU()]
    # The sigmoid stays in float32 whatever precision the rest runs in.
    network += [TransposedConvolution(1, KERNEL), layers.Activation("sigmoid", dtype="float32")]
    if classes:
        return conditional_generator(keras.Sequential(network), classes)
    return keras.Sequential(network, name="generator")


def discriminator(*, image_size: int, blocks: Blocks, width: float, dropout: float, classes: int = 0) -> keras.Model:
    """Images (B, S, S, 1) in [0, 1], and class codes (B,) if there are classes, to logits (B, 1).

    Args:
        image_size: Pixels on a side.
        blocks: Each one is convolution with a stride, LeakyReLU, dropout.
        width: Times every number of channels.
        dropout: Share dropped after each LeakyReLU.
        classes: To tell apart; 0 for a network that takes no codes.
    """
    network = [keras.Input((image_size, image_size, 1))]
    for filters, stride in blocks:
        network += [
            Convolution(scaled(filters, width), KERNEL, strides=stride),
            layers.LeakyReLU(negative_slope=SLOPE),
            layers.Dropout(dropout),
        ]
    head = [layers.Flatten(), layers.Dense(1, dtype="float32")]
    if classes:
        return projection_discriminator(keras.Sequential(network), keras.Sequential(head), classes)
    return keras.Sequential([*network, *head], name="discriminator")


def batch_norm() -> layers.Layer:
    """Batch normalisation over the global batch: statistics are exchanged where there is more than one device."""
    return layers.BatchNormalization(
        momentum=MOMENTUM, synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1
    )


def scaled(channels: int, width: float) -> int:
    """Channels times a width, at least one."""
    return max(1, round(channels * width))
