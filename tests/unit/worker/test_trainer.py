from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import trainer_of
from worker.classical_augmentation import augmented
from worker.draws import latent_points, variant_chance
from worker.models import registry
from worker.trainer import network_state


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_size_of_a_state_is_known_before_it_is_written(tiny: str, tmp_path: Path, ema_decay: float) -> None:
    family = registry.family(tiny)
    trainer = trainer_of(family, family.configure("default", {"ema_decay": ema_decay, "spectral_norm": True}))
    trainer.advance(1)
    trainer.state().write(str(tmp_path / "state"))
    reader = tf.train.load_checkpoint(str(tmp_path / "state"))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    written = sum(np.asarray(reader.get_tensor(name)).nbytes for name in names)
    not_weights = sum(np.asarray(reader.get_tensor(name)).nbytes for name in names if "counter" in name)
    assert trainer.state_bytes == pytest.approx(written - not_weights, abs=16)  # a seed generator has two numbers


def test_a_state_brings_back_every_variable_of_the_networks(tiny: str, tmp_path: Path) -> None:
    family = registry.family(tiny)
    chosen = family.configure("default", {"dropout": 0.5, "spectral_norm": True})
    taught, other = (trainer_of(family, chosen, seed=seed) for seed in (3, 4))
    taught.advance(2)
    taught.state().write(str(tmp_path / "state"))
    other.state().read(str(tmp_path / "state")).assert_consumed()
    for network in ("generator", "discriminator"):
        ours, theirs = (getattr(trainer.state(), network).variables for trainer in (taught, other))
        for mine, its in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.numpy(), its.numpy(), err_msg=mine.path)


class Listing(keras.Model):  # type: ignore[misc]  # Keras ships no types
    """A network of a family that keeps a weight in a list, where TensorFlow does not look."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.listed = [self.add_weight(shape=(2,), initializer="random_normal")]
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.dropout(self.dense(inputs), training=training) + self.listed[0]


def test_of_a_network_that_keeps_a_weight_in_a_list_all_is_written_and_read_once(tmp_path: Path) -> None:
    written, read = Listing(), Listing()
    points = np.ones((1, 3), np.float32)
    expected, before = written(points), read(points)
    tf.train.Checkpoint(**network_state("average", written)).write(str(tmp_path / "state"))
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "state"))]
    assert sum("average_unseen/" in name for name in names) == 2  # the weight, and the state that draws the dropout
    assert len(names) == 1 + len(written.variables)
    state = tf.train.Checkpoint(**network_state("average", read))
    state.read(str(tmp_path / "state")).assert_consumed()
    assert not np.array_equal(before, expected)
    np.testing.assert_array_equal(read(points), expected)


def test_a_step_shows_variants_of_its_real_images_that_depend_on_seed_and_step_alone(tiny: str) -> None:
    family = registry.family(tiny)
    chosen = family.configure("default", {"d_steps": 2})
    plain, varied, other = (
        trainer_of(family, chosen, batch_size=8, seed=seed, classical_augmentation=preset)
        for seed, preset in ((3, None), (3, "paper"), (4, "paper"))
    )
    several = varied._batches(5, 3)
    np.testing.assert_array_equal(several[2], varied._batches(7, 1)[0])
    images = plain._batches(7, 1)[0].reshape(-1, 8, 8)
    expected = augmented(images, "paper", variant_chance(3, 7))
    np.testing.assert_array_equal(several[2].reshape(-1, 8, 8), expected)
    assert (expected != images).any(axis=(1, 2)).mean() > 0.8
    assert not np.array_equal(several, other._batches(5, 3))


def test_a_class_of_one_image_in_twenty_is_learnt_as_its_own() -> None:
    random = np.random.default_rng(0)
    bright, dark = random.integers(180, 256, (1, 28, 28)), random.integers(0, 76, (19, 28, 28))
    family = registry.family("minuscule28-conditional")
    chosen = family.configure(
        "default", {"width": 0.1, "learning_rate_d": 1e-3, "learning_rate_g": 1e-3, "ema_decay": 0.9}
    )
    trainer = trainer_of(family, chosen, images=np.concatenate([bright, dark]).astype(np.uint8), batch_size=16)
    trainer.advance(40)
    points = latent_points(0, 0, 16, family.latent_size)
    rare, usual = (trainer.sample(points, np.full(16, code, np.int32)).mean() for code in (0, 1))
    assert rare - usual > 0.2  # of real ones it is 0.7; before the first step they differ by less than 0.01
