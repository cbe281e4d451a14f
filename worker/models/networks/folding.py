"""Batch norm as part of the weights before it, for networks that have learned."""

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from worker.models.networks.convolutions import FreezableKernel

OUTPUT_AXIS: dict[Any, int] = {layers.Conv2DTranspose: -2, layers.Conv2D: -1, layers.Dense: -1}
"""Where the kernel of a layer has its outputs."""


def fold_batch_norm(network: keras.Model) -> keras.Model:
    """A network that gives what this one gives outside of training, without the batch norms that can be spared.

    Those are the ones behind a dense layer or a convolution, in a network that is a plain sequence; of any other
    network nothing is changed. Dropout, which does nothing then, goes too. The layers of the copy are made under the
    fast paths and the precision that hold where this is called.
    """
    if not isinstance(network, keras.Sequential):
        return network
    kept: list[layers.Layer] = []
    weights: list[list[NDArray[np.float32]]] = []
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization) and kept and _takes_scale(kept[-1]):
            weights[-1] = _scaled(kept[-1], weights[-1], layer)
        elif not isinstance(layer, layers.Dropout):
            kept.append(layer)
            weights.append(layer.get_weights())
    copies = [type(layer).from_config(layer.get_config()) for layer in kept]
    copy = keras.Sequential([keras.Input(network.input_shape[1:]), *copies])
    for layer, values in zip(copies, weights, strict=True):
        layer.set_weights(values)
        if isinstance(layer, FreezableKernel):
            layer.freeze()
    return copy


def _takes_scale(layer: Any) -> bool:
    kinds: Any = tuple(OUTPUT_AXIS)
    return isinstance(layer, kinds) and bool(layer.use_bias and layer.activation is keras.activations.linear)


def _scaled(layer: layers.Layer, weights: list[Any], norm: layers.BatchNormalization) -> list[Any]:
    """Kernel and bias of a layer, with gamma (x - mean) / sqrt(variance + epsilon) + beta applied to its outputs."""
    kernel, bias = weights
    gamma = norm.gamma.numpy() if norm.scale else 1.0
    beta = norm.beta.numpy() if norm.center else 0.0
    scale = gamma / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    axis = next(axis for kind, axis in OUTPUT_AXIS.items() if isinstance(layer, kind))
    by_output = np.expand_dims(scale, -1) if axis == -2 else scale
    return [kernel * by_output, (bias - norm.moving_mean.numpy()) * scale + beta]
