"""5x5 convolutions that keep their kernels, however they are computed (`worker.fast_paths`)."""

from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from worker.contract.fast_paths import FastPath
from worker.fast_paths import active
from worker.models.networks import single_filter, toom_cook


class FreezableKernel:
    """What the layers below share: a convolution of stride 1 with same padding, by a kernel made of the layer's own."""

    input: tf.Tensor
    """Of the layer, once it is in a network."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _check(self)
        self._paths = active()
        self._frozen: tf.Tensor | None = None

    def freeze(self) -> None:
        """Make once of the weights what each call makes of them; from now on the weights must not change."""
        self._frozen = self._prepared(self.input.shape)

    def _small_kernel(self) -> tf.Tensor:
        """The kernel to convolve with, (r, r, channels, filters)."""
        raise NotImplementedError

    def _convolve(self, inputs: tf.Tensor) -> tf.Tensor:
        """(B, H, W, channels) to (B, H, W, filters)."""
        kernel = self._prepared(inputs.shape) if self._frozen is None else self._frozen
        if kernel.shape.rank == toom_cook.KERNEL_RANK:
            return toom_cook.convolve(inputs, kernel)
        if FastPath.SINGLE_FILTER in self._paths and single_filter.pays(inputs.dtype, kernel.shape):
            return (single_filter.convolve if self._frozen is None else single_filter.outputs)(inputs, kernel)
        return tf.nn.conv2d(inputs, tf.cast(kernel, inputs.dtype), strides=1, padding="SAME")

    def _prepared(self, inputs_shape: tf.TensorShape) -> tf.Tensor:
        kernel = self._small_kernel()
        if FastPath.TOOM_COOK in self._paths and toom_cook.pays(inputs_shape, kernel.shape):
            return toom_cook.at_points(kernel)
        return kernel


class Convolution(FreezableKernel, layers.Conv2D):  # type: ignore[misc] # Keras ships no types
    """keras.layers.Conv2D, same padding."""

    def __init__(self, filters: int, kernel_size: int, *, padding: Literal["same"] = "same", **options: Any) -> None:
        super().__init__(filters, kernel_size, padding=padding, **options)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.strides != (1, 1):
            return super().call(inputs)
        return tf.nn.bias_add(self._convolve(inputs), _tensor(self.bias))

    def _small_kernel(self) -> tf.Tensor:
        return _tensor(self.kernel)


class TransposedConvolution(FreezableKernel, layers.Conv2DTranspose):  # type: ignore[misc] # Keras ships no types
    """keras.layers.Conv2DTranspose of stride 1, same padding."""

    def __init__(self, filters: int, kernel_size: int, *, padding: Literal["same"] = "same", **options: Any) -> None:
        super().__init__(filters, kernel_size, padding=padding, **options)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if FastPath.MIRRORED_KERNELS not in self._paths:
            return super().call(inputs)
        return tf.nn.bias_add(self._convolve(inputs), _tensor(self.bias))

    def _small_kernel(self) -> tf.Tensor:
        return tf.transpose(tf.reverse(_tensor(self.kernel), [0, 1]), (0, 1, 3, 2))


class DoublingConvolution(TransposedConvolution):
    """Nearest-neighbour up-sampling by 2, then a 5x5 transposed convolution of stride 1, whose weights it has.

    A window of 5x5 pixels of the enlarged map covers no more than 3x3 of the small one. So this is one 3x3
    convolution of the small map onto four times the channels, one set for each corner of a pixel that was doubled,
    whose weights are sums of the 5x5 ones: exact, borders included, with 2.78 times fewer multiplications.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if FastPath.SMALL_KERNELS not in self._paths:
            return super().call(tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2))
        return tf.nn.bias_add(tf.nn.depth_to_space(self._convolve(inputs), 2), _tensor(self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return batch, height and 2 * height, width and 2 * width, self.filters

    def _small_kernel(self) -> tf.Tensor:
        mirrored = super()._small_kernel()
        if FastPath.SMALL_KERNELS not in self._paths:
            return mirrored
        covers = tf.constant(COVERS, mirrored.dtype)
        small = tf.einsum("pak,qbl,klio->abipqo", covers, covers, mirrored)
        return tf.reshape(small, (3, 3, small.shape[2], 4 * self.filters))


COVERS = np.array(
    [
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
    ]
)
"""Along one axis: for the first and second half of a doubled pixel, which of 5 taps fall on which of 3 pixels."""


def _check(layer: Any) -> None:
    """ValueError for what Keras's layers can do and these cannot, rather than another network than was asked for."""
    allowed_strides = ((1, 1), (2, 2)) if isinstance(layer, layers.Conv2D) else ((1, 1),)
    refused = {
        "activation": layer.activation is not keras.activations.linear,
        "use_bias": not layer.use_bias,
        "dilation_rate": layer.dilation_rate != (1, 1),
        "groups": getattr(layer, "groups", 1) != 1,
        "strides": layer.strides not in allowed_strides,
        "kernel_size": layer.kernel_size[0] != layer.kernel_size[1] or layer.kernel_size[0] % 2 == 0,
        "padding": layer.padding != "same",
        "data_format": layer.data_format != "channels_last",
    }
    if wrong := [name for name, is_wrong in refused.items() if is_wrong]:
        raise ValueError(
            f"{type(layer).__name__} cannot be had with this {', '.join(wrong)}: take the layer of Keras instead."
        )


def _tensor(weight: Any) -> tf.Tensor:
    """A weight's value, in the precision that its layer computes in."""
    return tf.convert_to_tensor(weight)
