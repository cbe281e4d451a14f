from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from worker.contract.fast_paths import FastPath
from worker.fast_paths import PLAIN, FastPaths, taking
from worker.gradient_penalty import R1Penalty, squared_gradient_norms
from worker.models.networks import toom_cook
from worker.models.networks.convolutions import Convolution

FASTEST = frozenset({FastPath.TOOM_COOK, FastPath.SINGLE_FILTER})
SIDE = 8


def judging(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda images: network(images, training=False)


@pytest.mark.parametrize("paths", [PLAIN, FASTEST], ids=["plain", "fast"])
def test_through_our_convolutions_norms_and_their_gradients_are_those_of_keras(
    paths: FastPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toom_cook, "FEWEST_CHANNELS", 2)

    def network(convolution: Any, **options: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 1)),
                convolution(3, 5, strides=2, **options),
                layers.LeakyReLU(negative_slope=0.2),
                convolution(4, 5, **options),  # by Toom and Cook
                layers.Activation("softplus"),
                convolution(1, 5, **options),  # onto a single filter
                layers.Activation("tanh"),
                layers.Flatten(),
                layers.Dense(1),
            ]
        )

    with taking(paths):
        ours = network(Convolution)
    theirs = network(layers.Conv2D, padding="same")
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape) for weight in theirs.weights]
    images = tf.constant(random.random((3, SIDE, SIDE, 1), np.float32))
    results = []
    for each in (ours, theirs):
        each.set_weights(weights)
        with tf.GradientTape() as tape:
            norms = squared_gradient_norms(judging(each), images, 1.0)
            total = tf.reduce_sum(norms)
        # The last bias does nothing for the slope.
        *gradients, none = tape.gradient(total, each.trainable_variables)
        assert none is None
        results.append([norms, *gradients])
    for mine, keras_has in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_has, rtol=1e-4, atol=1e-4 * np.abs(keras_has).max())


class Neuron:
    """D(x) = tanh(w x), whose slope is (1 - D(x)^2) w, and what R1 and its gradient are, worked out by hand."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.pixels = random.random((4, 9))
        self.weights = random.normal(size=9) / 3
        self.variable = tf.Variable(self.weights[:, np.newaxis], dtype=tf.float32)
        self.images = tf.constant(self.pixels.reshape(4, 3, 3, 1), tf.float32)

    def judge(self, images: tf.Tensor) -> tf.Tensor:
        return tf.tanh(tf.reshape(images, (-1, 9)) @ self.variable)

    def norms(self) -> Any:
        slope = 1 - np.tanh(self.pixels @ self.weights) ** 2
        return slope**2 * (self.weights**2).sum()

    def gradient_of_mean_norm(self) -> Any:
        value = np.tanh(self.pixels @ self.weights)
        slope = 1 - value**2
        of_slope = -2 * value * slope
        by_image = 2 * (slope * of_slope)[:, np.newaxis] * self.pixels * (self.weights**2).sum()
        return (by_image + 2 * (slope**2)[:, np.newaxis] * self.weights).mean(axis=0)


def test_norms_are_those_of_each_images_own_gradient() -> None:
    neuron = Neuron()
    for loss_scale in (1.0, 1024.0):
        np.testing.assert_allclose(
            squared_gradient_norms(neuron.judge, neuron.images, loss_scale), neuron.norms(), rtol=1e-5
        )


@pytest.mark.parametrize("compiled", [None, True], ids=["as it is", "compiled"])
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_a_penalty_joins_the_gradients_of_every_nth_step_times_n_and_its_norm_is_kept(
    loss_scale: float, compiled: bool | None
) -> None:
    neuron = Neuron()
    penalty = R1Penalty(weight=3.0, every=4)

    def penalised(step: tf.Tensor) -> tf.Tensor:
        given = tf.fill((9, 1), loss_scale)
        return penalty.added_to(
            [given], [neuron.variable], neuron.judge, neuron.images, size=4, step=step, loss_scale=loss_scale
        )[0]

    function = tf.function(penalised, autograph=False, jit_compile=compiled)
    added = 3.0 / 2 * 4 * neuron.gradient_of_mean_norm()
    for step in range(1, 8):
        if step == 3:
            penalty.last_norm.assign(7.0)
        gradient = function(tf.constant(step, tf.int64))[:, 0] / loss_scale
        np.testing.assert_allclose(gradient, 1 + added * (step in (1, 5)), rtol=1e-5)
        expected = 7.0 if step in (3, 4) else neuron.norms().mean()
        assert penalty.last_norm.numpy() == pytest.approx(expected, rel=1e-5)


def test_what_does_nothing_for_the_slope_keeps_its_gradient() -> None:
    neuron, bias = Neuron(), tf.Variable(1.0)
    (gradient,) = R1Penalty(weight=3.0, every=1).added_to(
        [tf.constant(2.0)],
        [bias],
        lambda images: neuron.judge(images) + bias,
        neuron.images,
        size=4,
        step=1,
        loss_scale=1.0,
    )
    assert gradient.numpy() == 2.0


def test_a_step_without_the_penalty_does_not_ask_the_discriminator() -> None:
    def never(images: tf.Tensor) -> tf.Tensor:
        raise AssertionError

    gradients = [tf.constant(2.0)]
    penalty = R1Penalty(weight=3.0, every=2)
    variable = tf.Variable(1.0)
    (kept,) = penalty.added_to(gradients, [variable], never, tf.zeros((1, 2, 2, 1)), size=1, step=2, loss_scale=1.0)
    assert kept.numpy() == 2.0
