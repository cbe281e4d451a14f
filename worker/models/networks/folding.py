"""Batch norm as part of the weights before it, for networks that have learned."""

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from worker.models.networks.conditioning import ConditionalGenerator
from worker.models.networks.convolutions import (
    Convolution,
    DoublingConvolution,
    FreezableKernel,
    TransposedConvolution,
)

OUTPUT_AXIS: dict[Any, int] = {
    layers.Dense: -1,
    layers.Conv2D: -1,
    layers.Conv2DTranspose: -2,
    Convolution: -1,
    TransposedConvolution: -2,
    DoublingConvolution: -2,
}
"""Where the kernel of a layer has its outputs."""
WITHOUT_KERNEL = {
    layers.Activation,
    layers.BatchNormalization,
    layers.Dropout,
    layers.Flatten,
    layers.LeakyReLU,
    layers.ReLU,
    layers.Reshape,
    layers.UpSampling2D,
}
"""The other kinds of layers of which configuration and weights say all."""
OF_LEARNING = {"initializer": "zeros", "regularizer": None, "constraint": None}
"""By the end of its name, what of a configuration matters to learning alone. It may be code that cannot be copied."""


def fold_batch_norm(network: keras.Model) -> keras.Model:
    """A network that gives what this one gives outside of training, without the batch norms that can be spared.

    Those are the ones behind a dense layer or a convolution. Dropout, which does nothing then, goes too. The layers of
    the copy are made under the fast paths and the precision that hold where this is called.

    A network is returned as it is, unless it is a plain sequence of layers whose copies are known to do what they do.
    Of a conditional generator the body is copied, and the embedding is shared.
    """
    if type(network) is ConditionalGenerator:
        return ConditionalGenerator(fold_batch_norm(network.body), network.embedding)
    if type(network) is not keras.Sequential or not _can_be_copied(network.layers):
        return network
    kept: list[layers.Layer] = []
    weights: list[list[NDArray[np.float32]]] = []
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization) and kept and _takes_scale(kept[-1]):
            weights[-1] = _scaled(kept[-1], weights[-1], layer)
        elif not isinstance(layer, layers.Dropout):
            kept.append(layer)
            weights.append(layer.get_weights())
    copies = [_copy(layer) for layer in kept]
    copy = keras.Sequential([keras.Input(network.input_shape[1:]), *copies])
    for layer, values in zip(copies, weights, strict=True):
        layer.set_weights(values)
        if isinstance(layer, FreezableKernel):
            layer.freeze()
    return copy


def _can_be_copied(sequence: list[layers.Layer]) -> bool:
    one_place_each = len({id(layer) for layer in sequence}) == len(sequence)
    return one_place_each and all(map(_is_known, sequence))


def _is_known(layer: Any) -> bool:
    """Whether configuration and weights say all of a layer; of a batch norm, also that its axis is the last."""
    activation = getattr(layer, "activation", None)
    if activation is not None and activation not in vars(keras.activations).values():
        return False
    if type(layer) is layers.BatchNormalization:
        return bool(layer.axis in (-1, layer.input_spec.ndim - 1))
    if type(layer) in OUTPUT_AXIS:
        # More weights than these has a layer that was quantized, or whose kernel is being adapted.
        return bool(len(layer.weights) == 1 + layer.use_bias)
    return type(layer) in WITHOUT_KERNEL


def _takes_scale(layer: Any) -> bool:
    if type(layer) not in OUTPUT_AXIS or getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    return bool(layer.use_bias and layer.activation is keras.activations.linear)


def _scaled(layer: layers.Layer, weights: list[Any], norm: layers.BatchNormalization) -> list[Any]:
    """Kernel and bias of a layer, with gamma (x - mean) / sqrt(variance + epsilon) + beta applied to its outputs."""
    kernel, bias = weights
    gamma = norm.gamma.numpy() if norm.scale else 1.0
    beta = norm.beta.numpy() if norm.center else 0.0
    scale = gamma / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    by_output = np.expand_dims(scale, -1) if OUTPUT_AXIS[type(layer)] == -2 else scale
    return [kernel * by_output, (bias - norm.moving_mean.numpy()) * scale + beta]


def _copy(layer: layers.Layer) -> layers.Layer:
    """A layer like this one, with weights that are still to be set."""
    configuration = layer.get_config().items()
    return type(layer).from_config(
        {name: OF_LEARNING.get(name.rpartition("_")[2], value) for name, value in configuration}
    )
