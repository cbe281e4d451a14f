import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from worker.dcgan import DoublingConvolution, scaled


@settings(max_examples=5, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_doubling_convolution_is_up_sampling_and_transposed_convolution(
    height: int, width: int, channels: int, filters: int, seed: int
) -> None:
    fast = layers_on((height, width, channels), DoublingConvolution(filters, 5, padding="same", dtype="float64"))
    plain = layers_on(
        (height, width, channels),
        layers.UpSampling2D(2, dtype="float64"),
        layers.Conv2DTranspose(filters, 5, padding="same", dtype="float64"),
    )
    random = np.random.default_rng(seed)
    weights = [random.normal(size=weight.shape) for weight in plain.weights]
    inputs = tf.constant(random.normal(size=(2, height, width, channels)))
    onto = tf.constant(random.normal(size=(2, 2 * height, 2 * width, filters)))

    assert fast.output_shape == plain.output_shape == (None, 2 * height, 2 * width, filters)
    results = []
    for network in (fast, plain):
        network.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = network(inputs)
            projection = tf.reduce_sum(outputs * onto)
        results.append([outputs, *tape.gradient(projection, [inputs, *network.trainable_variables])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def layers_on(shape: tuple[int, ...], *stack: layers.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape, dtype="float64"), *stack])


@pytest.mark.parametrize(("width", "channels"), [(1.0, 64), (0.5, 32), (0.05, 3), (1e-6, 1), (4.0, 256)])
def test_width_scales_channels_and_leaves_one(width: float, channels: int) -> None:
    assert scaled(64, width) == channels
