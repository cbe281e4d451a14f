from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from worker.fast_paths import DEFAULTS, PLAIN, FastPaths, taking
from worker.models.networks.dcgan import generator
from worker.models.networks.folding import fold_batch_norm


def shaken(network: keras.Model) -> keras.Model:
    """With weights and statistics as if it had learned."""
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.5, 1.5, weight.shape) / 10 for weight in network.get_weights()])
    return network


def sequence(
    shape: tuple[int, ...], *stack: layers.Layer, kind: type[keras.Sequential] = keras.Sequential
) -> keras.Model:
    return kind([keras.Input(shape), *stack])


def drawn(network: keras.Model) -> NDArray[np.float32]:
    points = np.random.default_rng(1).uniform(-1, 1, (3, *network.input_shape[1:])).astype(np.float32)
    images: NDArray[np.float32] = network(points, training=False).numpy()
    return images


@pytest.mark.parametrize("paths", [PLAIN, DEFAULTS["CPU"]], ids=["plain", "fast"])
def test_a_folded_generator_draws_the_same_images_without_batch_norm(paths: FastPaths) -> None:
    with taking(paths):
        network = shaken(generator(latent_size=6, start=(4, 32), blocks=[(32, 2), (3, 1)], width=1, dropout=0.5))
        folded = fold_batch_norm(network)
    np.testing.assert_allclose(drawn(folded), drawn(network), atol=2e-6)
    assert not any(isinstance(layer, layers.BatchNormalization | layers.Dropout) for layer in folded.layers)


def test_of_a_conditional_generator_the_body_is_folded_and_classes_are_as_they_were() -> None:
    network = shaken(generator(latent_size=6, start=(4, 8), blocks=[(4, 2)], width=1, dropout=0.5, classes=3))
    folded = fold_batch_norm(network)
    points = np.random.default_rng(1).uniform(-1, 1, (3, 6)).astype(np.float32)
    inputs = [points, np.array([2, 0, 1], np.int32)]
    np.testing.assert_allclose(folded(inputs, training=False), network(inputs, training=False), atol=2e-6)
    assert not any("moving" in weight.name for weight in folded.weights)
    assert any("moving" in weight.name for weight in network.weights)


def test_what_cannot_be_folded_stays() -> None:
    stack = [
        layers.BatchNormalization(),
        layers.Dense(5, activation="relu"),
        layers.BatchNormalization(scale=False),
        layers.Dense(5, use_bias=False),
        layers.BatchNormalization(center=False),
        layers.Dense(5),
        layers.BatchNormalization(scale=False, center=False),
    ]
    network = shaken(sequence((4,), *stack))
    folded = fold_batch_norm(network)
    np.testing.assert_allclose(drawn(folded), drawn(network), atol=1e-6)
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in folded.layers) == 3


def test_a_dense_layer_of_a_series_takes_the_batch_norm_of_its_last_axis() -> None:
    network = shaken(sequence((6, 4), layers.Dense(5), layers.BatchNormalization(axis=2), layers.Flatten()))
    folded = fold_batch_norm(network)
    assert [type(layer) for layer in folded.layers] == [layers.Dense, layers.Flatten]
    np.testing.assert_allclose(drawn(folded), drawn(network), atol=1e-6)


class Halving(keras.initializers.Initializer):
    """Code of one's own that cannot be made again from its configuration."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        return tf.constant(self.random.uniform(0, 0.5, shape), dtype)


def test_what_matters_to_learning_alone_need_not_be_copied() -> None:
    own: dict[str, Any] = {"kernel_initializer": Halving(np.random.default_rng(0)), "kernel_constraint": tf.nn.relu}
    network = shaken(sequence((4,), layers.Dense(5, **own), layers.BatchNormalization(beta_regularizer=tf.nn.l2_loss)))
    folded = fold_batch_norm(network)
    assert len(folded.layers) == 1
    np.testing.assert_allclose(drawn(folded), drawn(network), atol=1e-6)


def test_a_layer_that_has_its_channels_first_keeps_its_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers.Conv2D, "call", lambda _, inputs: inputs)  # a CPU cannot convolve so
    convolution = layers.Conv2D(4, 1, data_format="channels_first")
    network = shaken(sequence((4, 4, 4), convolution, layers.BatchNormalization()))
    folded = fold_batch_norm(network)
    assert [type(layer) for layer in folded.layers] == [layers.Conv2D, layers.BatchNormalization]
    np.testing.assert_allclose(drawn(folded), drawn(network), atol=1e-6)


class Shift(layers.Layer):
    """Adds what is neither in its configuration nor among its weights."""

    amount = 0.0

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.amount


class Doubled(layers.Dense):
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return 2 * super().call(inputs)


class DoubledSequence(keras.Sequential):
    def call(self, inputs: tf.Tensor, **options: Any) -> tf.Tensor:
        return 2 * super().call(inputs, **options)


class RunningMean(layers.BatchNormalization):
    def call(self, inputs: tf.Tensor, **_: Any) -> tf.Tensor:
        return inputs - self.moving_mean


def with_state_of_its_own() -> keras.Model:
    shift = Shift()
    network = sequence((4,), layers.Dense(5), layers.BatchNormalization(), shift)
    shift.amount = 3.0
    return network


def with_one_layer_twice() -> keras.Model:
    shared = layers.Dense(4)
    return sequence((4,), shared, layers.ReLU(), shared, layers.BatchNormalization())


def with_a_network_within() -> keras.Model:
    return sequence((4,), sequence((4,), layers.Dense(5), layers.BatchNormalization()), layers.ReLU())


def with_an_adapted_kernel() -> keras.Model:
    dense = layers.Dense(5)
    network = sequence((4,), dense, layers.BatchNormalization())
    dense.enable_lora(2)
    return network


def branched() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, inputs + layers.Dense(4)(inputs))


@pytest.mark.parametrize(
    "made",
    [
        branched,
        with_state_of_its_own,
        with_one_layer_twice,
        with_a_network_within,
        with_an_adapted_kernel,
        lambda: sequence((4,), Doubled(5), layers.BatchNormalization()),
        lambda: sequence((4,), layers.Dense(5), RunningMean()),
        lambda: sequence((4,), layers.Dense(5), layers.BatchNormalization(), kind=DoubledSequence),
        lambda: sequence((4,), layers.Dense(5, activation=lambda x: x * x), layers.BatchNormalization()),
        lambda: sequence((6, 4), layers.Dense(5), layers.BatchNormalization(axis=1)),
        lambda: sequence((6, 6, 2), layers.Conv2D(3, 3), layers.BatchNormalization(axis=1)),
        lambda: sequence((4, 4, 2), layers.Conv2DTranspose(4, 3, padding="same"), layers.BatchNormalization(axis=2)),
    ],
    ids=[
        "no sequence",
        "state of its own",
        "one layer twice",
        "a network within",
        "an adapted kernel",
        "a kind of dense layer",
        "a kind of batch norm",
        "a kind of sequence",
        "an activation of its own",
        "another axis of a series",
        "another axis of a convolution",
        "another axis as long as the last",
    ],
)
def test_a_network_that_may_not_be_copied_whole_is_left_alone(made: Callable[[], keras.Model]) -> None:
    network = shaken(made())
    before = drawn(network)
    folded = fold_batch_norm(network)
    assert folded is network
    np.testing.assert_array_equal(drawn(folded), before)
