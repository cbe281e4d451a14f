from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from worker.fast_paths import DEFAULTS, taking
from worker.models.networks.convolutions import Convolution
from worker.models.networks.spectral_norm import SpectrallyNormalized
from worker.precision import computing_in

Matrix = NDArray[np.float64]


def network(dropout: float = 0.0) -> keras.Model:
    with taking(DEFAULTS["CPU"]):
        return keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                Convolution(3, 5, strides=2),
                layers.LeakyReLU(negative_slope=0.2),
                layers.Dropout(dropout),
                Convolution(4, 5),
                layers.Flatten(),
                layers.Dense(1, dtype="float32"),
            ]
        )


def images() -> tf.Tensor:
    return tf.random.stateless_uniform((3, 6, 6, 1), seed=(1, 2))


def kernels(model: keras.Model) -> list[Matrix]:
    return [weight.numpy().astype(np.float64) for weight in model.trainable_variables if len(weight.shape) > 1]


def norm_of(kernel: Matrix, vector: Matrix, *, iterate: bool) -> tuple[float, Matrix, Matrix, Matrix]:
    """Algorithm 1 of the paper for one layer: the norm, and the vectors v, u and what is kept for the next pass."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    left = matrix @ vector / np.linalg.norm(matrix @ vector)
    if iterate:
        vector = matrix.T @ left
    right = vector / np.linalg.norm(vector)
    return float(left @ matrix @ right), left, right, right if iterate else vector


@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_of_the_network_with_divided_kernels(training: bool) -> None:
    inner = network()
    normalized = SpectrallyNormalized(inner)
    found = [
        norm_of(kernel, vector.numpy().astype(np.float64), iterate=training)
        for kernel, vector in zip(kernels(inner), normalized.vectors, strict=True)
    ]
    outputs = normalized(images(), training=training)
    for vector, (_, _, _, kept) in zip(normalized.vectors, found, strict=True):
        np.testing.assert_allclose(vector.numpy(), kept, atol=1e-5)
    divided = network()
    norms = iter(norm for norm, *_ in found)
    divided.set_weights([weight / next(norms) if weight.ndim > 1 else weight for weight in inner.get_weights()])
    np.testing.assert_allclose(outputs, divided(images(), training=False), atol=1e-5)


def test_the_norm_becomes_the_largest_singular_value_whatever_the_kernel_has_grown_to() -> None:
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, use_bias=False)])
    normalized = SpectrallyNormalized(inner)
    inner.set_weights([100 * np.random.default_rng(0).normal(size=(5, 4))])
    for _ in range(200):
        normalized(tf.zeros((1, 5)), training=True)
    (kernel,) = kernels(inner)
    assert np.linalg.norm(kernel, 2) > 100
    np.testing.assert_allclose(normalized(tf.eye(5)), kernel / np.linalg.norm(kernel, 2), atol=1e-4)


def test_gradients_flow_through_the_norm() -> None:
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, use_bias=False)])
    normalized = SpectrallyNormalized(inner)
    (kernel,), (vector,) = kernels(inner), normalized.vectors
    norm, left, right, _ = norm_of(kernel, vector.numpy().astype(np.float64), iterate=True)
    onto = np.random.default_rng(1).normal(size=(5, 4))
    with tf.GradientTape() as tape:
        projection = tf.reduce_sum(normalized(tf.eye(5), training=True) * onto.astype(np.float32))
    (gradient,) = tape.gradient(projection, normalized.trainable_variables)
    # Eq. 12 of the paper: the gradient by the divided kernel, less its part along the singular direction.
    expected = (onto - (onto * kernel / norm).sum() * np.outer(left, right)) / norm
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_what_layers_change_themselves_is_changed() -> None:
    seen: list[Any] = []
    for wrap in (lambda inner: inner, SpectrallyNormalized):
        keras.utils.set_random_seed(3)
        norm = layers.BatchNormalization()
        dropout = layers.Dropout(0.5)
        model = wrap(keras.Sequential([keras.Input((6,)), norm, dropout]))
        outputs = [model(tf.reshape(images(), (-1, 6)), training=True).numpy() for _ in range(2)]
        seen.append([*outputs, norm.moving_mean.numpy(), dropout.seed_generator.state.numpy()])
        assert not np.array_equal(outputs[0] == 0, outputs[1] == 0)
    for plain, wrapped in zip(*seen, strict=True):
        np.testing.assert_array_equal(plain, wrapped)


def test_in_half_precision_weights_and_vectors_stay_whole() -> None:
    with computing_in("bfloat16"):
        normalized = SpectrallyNormalized(network())
        outputs = normalized(images(), training=True)
    assert outputs.dtype == tf.float32
    assert {weight.dtype for weight in normalized.weights} == {"float32"}


def test_a_kernel_of_zeros_stays_one() -> None:
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, kernel_initializer="zeros")])
    assert np.isfinite(SpectrallyNormalized(inner)(tf.ones((2, 5)), training=True)).all()
