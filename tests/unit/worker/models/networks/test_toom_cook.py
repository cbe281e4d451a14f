import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from worker.models.networks.toom_cook import TILE, _matrices, at_points, convolve, pays


@pytest.mark.parametrize("taps", [3, 5])
@given(seed=st.integers(0, 999))
@settings(max_examples=20)
def test_a_tile_is_a_filter_by_fewer_products(taps: int, seed: int) -> None:
    outputs_of, filter_at, data_at = _matrices(taps)
    random = np.random.default_rng(seed)
    data, weights = random.normal(size=TILE + taps - 1), random.normal(size=taps)
    assert len(data_at) == TILE + taps - 1 < TILE * taps
    ours = outputs_of @ ((filter_at @ weights) * (data_at @ data))
    np.testing.assert_allclose(ours, np.correlate(data, weights, "valid"), atol=1e-10)


@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("side", [4, 6, 13, 32])
def test_a_convolution_is_scipys_in_every_channel(side: int, taps: int) -> None:
    random = np.random.default_rng(side)
    inputs, kernel = random.normal(size=(2, side, side, 3)), random.normal(size=(taps, taps, 3, 2))
    expected = np.zeros((2, side, side, 2))
    for image, channel, filtered in np.ndindex(2, 3, 2):
        expected[image, ..., filtered] += signal.correlate2d(
            inputs[image, ..., channel], kernel[..., channel, filtered], "same"
        )
    np.testing.assert_allclose(convolve(tf.constant(inputs), at_points(tf.constant(kernel))), expected, atol=1e-9)


@pytest.mark.parametrize("taps", [3, 5])
def test_float32_is_as_good_as_the_plain_convolution_needs(taps: int) -> None:
    random = np.random.default_rng(0)
    inputs, kernel = random.normal(size=(4, 8, 8, 64)), random.normal(size=(taps, taps, 64, 32))
    exact = tf.nn.conv2d(tf.constant(inputs), tf.constant(kernel), 1, "SAME").numpy()
    ours = convolve(tf.constant(inputs, tf.float32), at_points(tf.constant(kernel, tf.float32))).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - exact).max() < 1e-4 * np.abs(exact).max()


def test_half_precision_comes_back_as_such_and_loses_no_more_than_that() -> None:
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(size=(2, 8, 8, 32)), tf.bfloat16)
    kernel = tf.constant(random.normal(size=(5, 5, 32, 32)), tf.bfloat16)
    exact = tf.nn.conv2d(tf.cast(inputs, tf.float64), tf.cast(kernel, tf.float64), 1, "SAME").numpy()
    ours = convolve(inputs, at_points(kernel))
    assert ours.dtype == tf.bfloat16
    assert np.abs(tf.cast(ours, tf.float64) - exact).max() < 2**-8 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("inputs", "kernel", "expected"),
    [
        ((None, 8, 8, 256), (5, 5, 256, 512), True),
        ((None, 16, 16, 128), (3, 3, 128, 256), True),
        ((None, 64, 64, 32), (5, 5, 32, 1), False),
        ((None, 128, 128, 64), (5, 5, 64, 64), False),
        ((None, 8, 9, 64), (5, 5, 64, 64), False),
        ((None, 8, 8, 64), (7, 7, 64, 64), False),
    ],
)
def test_it_is_taken_where_it_pays(inputs: tuple[int, ...], kernel: tuple[int, ...], expected: bool) -> None:
    assert pays(tf.TensorShape(inputs), tf.TensorShape(kernel)) is expected
