"""A convolution onto one map, for CPUs, whose kernels for convolutions are made for many.

All taps at once are one matrix product, whose rows are shifted and added up; the gradient of the kernel is another.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def pays(dtype: tf.DType, kernel_shape: tf.TensorShape) -> bool:
    """Whether this is the faster way: half precision would lose too much in the sum over the taps."""
    return kernel_shape[3] == 1 and dtype in (tf.float32, tf.float64)


def outputs(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """As `convolve`, without its gradient: what has one of its own, TensorFlow keeps for as long as a process lasts."""
    taps, _, channels, _ = kernel.shape
    pixels = tf.reshape(inputs, (-1, channels))
    maps = tf.matmul(tf.reshape(kernel, (taps**2, channels)), pixels, transpose_b=True)
    maps = _bordered(tf.reshape(maps, (taps**2, *_outline(inputs))), taps // 2)
    windows = [_window(maps[row * taps + column], inputs, row, column) for row in range(taps) for column in range(taps)]
    return tf.add_n(windows)[..., tf.newaxis]


@tf.custom_gradient  # type: ignore[untyped-decorator] # TensorFlow ships no types
def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """What tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME") gives.

    Args:
        inputs: (B, H, W, C).
        kernel: (r, r, C, 1), r odd.

    Returns:
        (B, H, W, 1).
    """
    taps, _, channels, _ = kernel.shape

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mirrored = tf.transpose(tf.reverse(kernel, (0, 1)), (0, 1, 3, 2))
        of_inputs = tf.nn.conv2d(upstream, mirrored, strides=1, padding="SAME")
        bordered = _bordered(upstream[..., 0], taps // 2)
        last = taps - 1
        shifted = [
            tf.reshape(_window(bordered, inputs, last - row, last - column), (-1,))
            for row in range(taps)
            for column in range(taps)
        ]
        pixels = tf.reshape(inputs, (-1, channels))
        return of_inputs, tf.reshape(tf.matmul(tf.stack(shifted), pixels), kernel.shape)

    return outputs(inputs, kernel), gradients


def _outline(inputs: tf.Tensor) -> tuple[Any, int, int]:
    return tf.shape(inputs)[0], inputs.shape[1], inputs.shape[2]


def _bordered(maps: tf.Tensor, border: int) -> tf.Tensor:
    """Maps (…, H, W) with zeros around them."""
    return tf.pad(maps, [(0, 0)] * (maps.shape.rank - 2) + [(border, border)] * 2)


def _window(bordered: tf.Tensor, inputs: tf.Tensor, row: int, column: int) -> tf.Tensor:
    """As many pixels as the inputs have, from a row and a column on."""
    return bordered[:, row : row + inputs.shape[1], column : column + inputs.shape[2]]
