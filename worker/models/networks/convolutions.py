"""5x5 convolutions that keep their kernels, however they are computed (`worker.fast_paths`)."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers

from worker.contract.fast_paths import FastPath
from worker.fast_paths import FastPaths, active
from worker.models.networks import toom_cook


class Convolution(layers.Conv2D):  # type: ignore[misc] # Keras ships no types
    """keras.layers.Conv2D, same padding."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, padding="same", **options)
        self._paths = active()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.strides != (1, 1):
            return super().call(inputs)
        return tf.nn.bias_add(_convolve(inputs, _tensor(self.kernel), self._paths), _tensor(self.bias))


class TransposedConvolution(layers.Conv2DTranspose):  # type: ignore[misc] # Keras ships no types
    """keras.layers.Conv2DTranspose of stride 1, same padding."""

    def __init__(self, filters: int, kernel_size: int, **options: Any) -> None:
        super().__init__(filters, kernel_size, padding="same", **options)
        self._paths = active()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if FastPath.MIRRORED_KERNELS not in self._paths:
            return super().call(inputs)
        mirrored = tf.transpose(tf.reverse(_tensor(self.kernel), [0, 1]), (0, 1, 3, 2))
        return tf.nn.bias_add(_convolve(inputs, mirrored, self._paths), _tensor(self.bias))


class DoublingConvolution(TransposedConvolution):
    """Nearest-neighbour up-sampling by 2, then a 5x5 transposed convolution of stride 1, whose weights it has.

    A window of 5x5 pixels of the enlarged map covers no more than 3x3 of the small one. So this is one 3x3
    convolution of the small map onto four times the channels, one set for each corner of a pixel that was doubled,
    whose weights are sums of the 5x5 ones: exact, borders included, with 2.78 times fewer multiplications.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if FastPath.SMALL_KERNELS not in self._paths:
            return super().call(tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2))
        mirrored = tf.reverse(_tensor(self.kernel), [0, 1])
        covers = tf.constant(COVERS, mirrored.dtype)
        small = tf.einsum("pak,qbl,kloi->abipqo", covers, covers, mirrored)
        small = tf.reshape(small, (3, 3, inputs.shape[-1], 4 * self.filters))
        corners = _convolve(inputs, small, self._paths)
        return tf.nn.bias_add(tf.nn.depth_to_space(corners, 2), _tensor(self.bias))

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


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, paths: FastPaths) -> tf.Tensor:
    """A convolution of stride 1 with same padding: inputs (B, H, W, C), kernel (r, r, C, F)."""
    if FastPath.TOOM_COOK in paths and toom_cook.pays(inputs.shape, kernel.shape):
        return toom_cook.convolve(inputs, kernel)
    return tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")


def _tensor(weight: Any) -> tf.Tensor:
    """A weight's value, in the precision that its layer computes in."""
    return tf.convert_to_tensor(weight)
