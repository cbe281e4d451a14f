"""Every fast way of a convolution against the plain one, values and gradients, in float64, borders included."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from worker.contract.fast_paths import FastPath
from worker.fast_paths import PLAIN, FastPaths, taking
from worker.models.networks import toom_cook
from worker.models.networks.convolutions import Convolution, DoublingConvolution, TransposedConvolution

EXACT = frozenset({FastPath.SMALL_KERNELS, FastPath.MIRRORED_KERNELS, FastPath.SINGLE_FILTER})
FASTEST = EXACT | {FastPath.TOOM_COOK}

Stack = Callable[[int], list[layers.Layer]]

KINDS: dict[str, tuple[type[layers.Layer], Stack]] = {
    "convolution": (Convolution, lambda filters: [layers.Conv2D(filters, 5, padding="same", dtype="float64")]),
    "transposed": (
        TransposedConvolution,
        lambda filters: [layers.Conv2DTranspose(filters, 5, padding="same", dtype="float64")],
    ),
    "doubling": (
        DoublingConvolution,
        lambda filters: [
            layers.UpSampling2D(2, dtype="float64"),
            layers.Conv2DTranspose(filters, 5, padding="same", dtype="float64"),
        ],
    ),
}
"""Our layer, and the layers of Keras that it stands for."""


@pytest.mark.parametrize("paths", [PLAIN, EXACT], ids=["plain", "exact"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_layer_is_what_keras_has(
    kind: str, paths: FastPaths, height: int, width: int, channels: int, filters: int, seed: int
) -> None:
    assert_equal_to_keras(kind, paths, (height, width, channels), filters, seed)


@pytest.mark.parametrize("side", [1, 4, 7, 8, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_what_keras_has_by_toom_cook(kind: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toom_cook, "FEWEST_CHANNELS", 1)
    assert_equal_to_keras(kind, FASTEST, (side, side, 2), 3, side)


def assert_equal_to_keras(kind: str, paths: FastPaths, shape: tuple[int, int, int], filters: int, seed: int) -> None:
    ours, theirs = KINDS[kind]
    with taking(paths):
        fast = network_of(shape, ours(filters, 5, dtype="float64"))
    plain = network_of(shape, *theirs(filters))
    random = np.random.default_rng(seed)
    weights = [random.normal(size=weight.shape) for weight in plain.weights]
    inputs = tf.constant(random.normal(size=(2, *shape)))
    assert fast.output_shape == plain.output_shape
    onto = tf.constant(random.normal(size=(2, *plain.output_shape[1:])))

    results = []
    for network in (fast, plain):
        network.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = network(inputs)
            projection = tf.reduce_sum(outputs * onto)
        results.append([outputs, *tape.gradient(projection, [inputs, *network.trainable_variables])])
    for mine, keras_has in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_has, rtol=1e-10, atol=1e-10)


def network_of(shape: tuple[int, ...], *stack: layers.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape, dtype="float64"), *stack])


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution, DoublingConvolution])
@pytest.mark.parametrize(
    "option",
    [
        {"activation": "relu"},
        {"use_bias": False},
        {"dilation_rate": 2},
        {"strides": 3},
        {"kernel_size": 4},
        {"kernel_size": (3, 5)},
        {"padding": "valid"},
        {"data_format": "channels_first"},
    ],
    ids=str,
)
def test_what_a_layer_does_not_compute_is_refused(kind: type[layers.Layer], option: dict[str, object]) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"{kind.__name__} cannot be had with this {name}: take the layer of Keras"):
        kind(**{"filters": 2, "kernel_size": 5} | option)
