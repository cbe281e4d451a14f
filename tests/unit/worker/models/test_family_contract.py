"""What every family must do, built-in or dropped in, at a width that a test can afford."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainers import noise, trainer_of
from worker.adversarial import Batch, Networks, alternating_step, update_discriminator, with_codes
from worker.checkpoint import load_generator, restore_checkpoint, save_checkpoint
from worker.contract.fast_paths import FastPath
from worker.contract.resources import Kind
from worker.differentiable_augmentation import NUMBERS
from worker.draws import augmentation_numbers, codes_in_turn, latent_points
from worker.fast_paths import PLAIN, FastPaths
from worker.models.registry import discover
from worker.trainer import Trainer

BATCH = 2
CHOSEN = {"width": 0.05, "dropout": 0.25, "ema_decay": 0.9}
OPTIONS: dict[str, dict[str, Any]] = {
    "hinge": {"loss": "hinge"},
    "least squares": {"loss": "lsgan", "label_smoothing": 0.1},
    "augmentation": {"diff_augment": ["brightness", "contrast", "translation", "cutout"]},
    "spectral norm": {"spectral_norm": True},
    "R1": {"r1_weight": 10.0, "r1_every": 2},
}
OPTIONS["all"] = {name: value for option in OPTIONS.values() for name, value in option.items()}

ARCHITECTURES = {
    "minuscule28": (7, [(128, True), (64, True), (32, False)], [(64, 2), (128, 2), (256, 2), (512, 1)]),
    "dcgan64": (8, [(128, True), (64, True), (32, True)], [(64, 2), (128, 2), (256, 2), (512, 1)]),
    "dcgan128": (8, [(256, True), (128, True), (64, True), (32, True)], [(64, 2), (128, 2), (256, 2), (128, 1)]),
}
"""The table of the 2018 study: first side, generator (filters, doubled before), discriminator (filters, stride)."""


@pytest.fixture(scope="module", params=discover().values(), ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


def chosen_trainer(family: Any, **chosen: Any) -> Trainer:
    return trainer_of(family, family.configure("default", CHOSEN | chosen), batch_size=BATCH, seed=5)


@pytest.fixture(scope="module")
def stepped(family: Any) -> tuple[Trainer, dict[str, float], dict[str, list[Any]]]:
    """A trainer after one step, that step's metrics, and the weights before it."""
    trainer = chosen_trainer(family)
    before = {network: weights_of(trainer, network) for network in ("generator", "discriminator")}
    (metrics,) = trainer.advance(1)
    return trainer, metrics, before


def weights_of(trainer: Trainer, network: str) -> list[Any]:
    return [np.array(weight) for weight in getattr(trainer._networks, network).get_weights()]


def latents(family: Any, count: int) -> Any:
    return latent_points(0, 0, count, family.latent_size)


def codes(family: Any, count: int) -> Any:
    """Of two classes in turn, None for a family that takes no labels."""
    return codes_in_turn(classes_of(family), count)


def classes_of(family: Any) -> int:
    return 2 if family.takes_labels else 0


def test_latent_points_become_images_in_the_grey_range(family: Any) -> None:
    network = family.generator(family.configure("default", CHOSEN), classes_of(family))
    images = network(with_codes(latents(family, 3), codes(family, 3)), training=False).numpy()
    assert images.shape == (3, family.image_size, family.image_size, 1)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0


def test_images_become_logits(family: Any) -> None:
    network = family.discriminator(family.configure("default", CHOSEN), classes_of(family))
    images = np.zeros((3, family.image_size, family.image_size, 1), np.float32)
    logits = network(with_codes(images, codes(family, 3)), training=False).numpy()
    assert logits.shape == (3, 1)
    assert logits.dtype == np.float32


def test_the_smallest_width_leaves_a_channel(family: Any) -> None:
    hyperparameters = family.configure("default", {"width": 1e-6})
    classes = classes_of(family)
    assert family.generator(hyperparameters, classes).output_shape == (None, family.image_size, family.image_size, 1)
    assert family.discriminator(hyperparameters, classes).output_shape == (None, 1)


def test_a_step_moves_both_networks_and_tells_finite_metrics_in_order(stepped: Any) -> None:
    trainer, metrics, before = stepped
    assert list(metrics) == ["d_loss", "d_acc", "g_loss", "g_acc"]
    assert np.isfinite(list(metrics.values())).all()
    assert 0 <= metrics["d_acc"] <= 1
    assert 0 <= metrics["g_acc"] <= 1
    assert trainer.steps_done == 1
    assert trainer.is_finite()
    for network, weights in before.items():
        moved = [not np.array_equal(old, new) for old, new in zip(weights, weights_of(trainer, network), strict=True)]
        assert all(moved), network


@pytest.mark.parametrize("fast_paths", [PLAIN, frozenset({FastPath.ONE_GENERATOR_PASS})], ids=["plain", "one pass"])
def test_neither_network_learns_while_the_other_is_taught(family: Any, fast_paths: FastPaths) -> None:
    networks: Networks = replace(chosen_trainer(family)._networks, fast_paths=fast_paths)
    images = tf.constant(noise(family.image_size, BATCH)[..., np.newaxis] / 255, tf.float32)
    points = tf.constant(latents(family, BATCH))
    shown = tf.constant(codes(family, BATCH)) if family.takes_labels else None
    generator, discriminator = networks.generator.trainable_variables, networks.discriminator.trainable_variables

    before = [variable.numpy() for variable in generator]
    fake = networks.generator(with_codes(points, shown), training=True)
    of_step = None if shown is None else shown[tf.newaxis]
    batch = Batch(real=images[tf.newaxis], latents=tf.stack([points, points]), size=BATCH, codes=of_step)
    hyperparameters = family.configure("default", CHOSEN)
    update_discriminator(networks, images, fake, shown, batch, hyperparameters)
    assert_same(before, generator)

    taught = [variable.numpy() for variable in discriminator]
    networks.discriminator_optimizer.learning_rate = 0.0
    alternating_step(networks, batch, hyperparameters)
    assert_same(taught, discriminator)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_learned_with(family: Any, option: str) -> None:
    trainer = chosen_trainer(family, **OPTIONS[option])
    chosen, networks = trainer.hyperparameters, trainer._networks
    variables = networks.generator.trainable_variables + networks.discriminator.trainable_variables
    before = [variable.numpy() for variable in variables]
    batch = Batch(
        real=tf.constant(noise(family.image_size, BATCH)[np.newaxis, ..., np.newaxis] / 255, tf.float32),
        latents=tf.constant(latent_points(0, 0, 2 * BATCH, family.latent_size).reshape(2, BATCH, -1)),
        size=BATCH,
        augmentations=augmentation_numbers(0, 1, (2, BATCH, 2, NUMBERS)) if chosen.diff_augment else None,
        codes=tf.constant(codes(family, BATCH))[tf.newaxis] if family.takes_labels else None,
    )
    metrics = family.step(networks, batch, chosen)
    assert list(metrics) == ["d_loss", "d_acc", "g_loss", "g_acc", *(["r1"] if chosen.r1_weight else [])]
    assert np.isfinite([float(value) for value in metrics.values()]).all()
    # On a last bias the pulls of real and generated images may cancel out.
    kernels = [(old, new.numpy()) for old, new in zip(before, variables, strict=True) if old.ndim > 1]
    assert not any(np.array_equal(old, new) for old, new in kernels)
    assert trainer.is_finite()


def assert_same(before: list[Any], now: list[tf.Variable]) -> None:
    for old, new in zip(before, now, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_a_checkpoint_brings_back_the_same_weights_and_images(
    family: Any, stepped: Any, job_context: Callable[..., Any]
) -> None:
    trainer, _, _ = stepped
    context = job_context(Kind.TRAINING.new_id())
    save_checkpoint(trainer.state(), context, keep=1, **record_fields(trainer))
    training: Path = context.store.folder(context.resource_id)
    points, shown = latents(family, 4), codes(family, 4)
    drawn = load_generator(training, 1)(with_codes(points, shown), training=False)
    # The trainer's own takes fast paths, which round differently.
    np.testing.assert_allclose(drawn[..., 0], trainer.sample(points, shown), atol=1e-5)

    again = chosen_trainer(family)
    restore_checkpoint(again.state(), training, 1)
    again.steps_done = 1
    for network in ("generator", "discriminator"):
        for old, new in zip(weights_of(trainer, network), weights_of(again, network), strict=True):
            np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(again.sample(points, shown), trainer.sample(points, shown))


def test_each_class_has_images_of_its_own(family: Any, stepped: Any) -> None:
    if not family.takes_labels:
        pytest.skip("learns no classes")
    trainer, _, _ = stepped
    points = latents(family, 3)
    first, second = (trainer.sample(points, np.full(3, code, np.int32)) for code in (0, 1))
    assert np.abs(first - second).max() > 1e-4


def record_fields(trainer: Trainer) -> dict[str, Any]:
    return {
        "step": trainer.steps_done,
        "family": trainer.family.name,
        "hyperparameters": trainer.hyperparameters.model_dump(),
        "image_size": trainer.family.image_size,
        "dataset": "ds_0",
        "dataset_sha256": None,
        "images_seen": trainer.plan.batch_size,
        "seconds": 1.0,
        "classes": trainer.classes,
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_networks_are_those_of_2018_layer_by_layer(name: str) -> None:
    family = discover()[name]
    side, generator_table, discriminator_table = ARCHITECTURES[name]
    chosen = family.configure("reference", {"width": 0.05})

    def channels(reference: int) -> int:
        return max(1, round(0.05 * reference))

    generator = [
        keras.Input((100,)),
        layers.Dense(side * side * channels(256)),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Dropout(chosen.dropout),
        layers.Reshape((side, side, channels(256))),
    ]
    for filters, doubled in generator_table:
        generator += [layers.UpSampling2D()] if doubled else []
        generator.append(layers.Conv2DTranspose(channels(filters), 5, padding="same"))
        generator += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    generator += [layers.Conv2DTranspose(1, 5, padding="same"), layers.Activation("sigmoid")]

    discriminator = [keras.Input((family.image_size, family.image_size, 1))]
    for filters, stride in discriminator_table:
        discriminator.append(layers.Conv2D(channels(filters), 5, strides=stride, padding="same"))
        discriminator += [layers.LeakyReLU(negative_slope=0.2), layers.Dropout(chosen.dropout)]
    discriminator += [layers.Flatten(), layers.Dense(1)]

    points = latents(family, 4)
    images = np.random.default_rng(0).random((4, family.image_size, family.image_size, 1), np.float32)
    for layers_of_2018, network, inputs in (
        (generator, family.generator(chosen, 0), points),
        (discriminator, family.discriminator(chosen, 0), images),
    ):
        expected = keras.Sequential(layers_of_2018)
        expected.set_weights(network.get_weights())
        np.testing.assert_allclose(network(inputs, training=False), expected(inputs, training=False), atol=1e-5)
        # What matters in training alone.
        for kind, setting in ((layers.Dropout, "rate"), (layers.BatchNormalization, "momentum")):
            assert settings_of(network, kind, setting) == settings_of(expected, kind, setting)


def settings_of(network: keras.Model, kind: type, setting: str) -> list[float]:
    return [getattr(layer, setting) for layer in network.layers if isinstance(layer, kind)]
