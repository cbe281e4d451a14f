import gc
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import labelled_dataset
from worker.contract.errors import DevicesUnavailable, InvalidRequest, UnknownFamily
from worker.contract.fast_paths import FastPath
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind
from worker.contract.settings import Settings
from worker.dataset import Dataset
from worker.stages.foresee import foresee

BATCH = 256
COUNTABLE = """
from typing import ClassVar

from keras import Input, Sequential, layers

from worker.models.base import CommonHyperparameters, Family


class Countable(Family[CommonHyperparameters]):
    name = "countable"
    title = "8x8, with layers whose work can be counted by hand"
    reference = "none"
    image_size = 8
    hyperparameters = CommonHyperparameters
    presets: ClassVar = {"default": CommonHyperparameters(ema_decay=0), "reference": CommonHyperparameters()}

    def generator(self, hyperparameters, classes):
        return Sequential([
            Input((100,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(64, activation="sigmoid", dtype="float32"),
            layers.Reshape((8, 8, 1), dtype="float32"),
        ])

    def discriminator(self, hyperparameters, classes):
        return Sequential([
            Input((8, 8, 1)),
            layers.Conv2D(32, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(1, dtype="float32"),
        ])
"""
GENERATOR = (2 * 100 * 512, 2 * 512 * 64)
DISCRIMINATOR = (2 * 4 * 4 * 32 * 5 * 5, 2 * 4 * 4 * 64 * 3 * 3 * 32, 2 * 4 * 4 * 64)
"""Operations of each layer for an image: 2 times outputs times inputs of each."""
GENERATOR_PARAMETERS = 100 * 512 + 512 + 512 * 64 + 64
DISCRIMINATOR_PARAMETERS = (5 * 5 * 32 + 32) + (3 * 3 * 32 * 64 + 64) + (4 * 4 * 64 + 1)
PARAMETERS = GENERATOR_PARAMETERS + DISCRIMINATOR_PARAMETERS
IMAGE = 8 * 8
GENERATED = 100 + 512 + IMAGE
LAST_MAP = 4 * 4 * 64
JUDGED = 4 * 4 * 32 + LAST_MAP
"""Values for an image that a backward pass reads."""
ONE_PASS = frozenset({FastPath.ONE_GENERATOR_PASS})


@pytest.fixture
def countable(install):
    install("countable_family", COUNTABLE, "Countable")
    return "countable"


def forecast_of(
    family,
    *,
    batch_size=BATCH,
    image_size=8,
    splits=(0, 0, 0, 1, 2),
    fast_paths=frozenset(),
    hyperparameters=None,
    **fields,
):
    """Of a training on images the first three of which are to train on."""
    request = TrainingRequest(
        dataset=Kind.DATASET.new_id(),
        model={"family": family, "hyperparameters": hyperparameters or {}},
        batch_size=batch_size,
        **({"precision": "float32", "steps": 10} | fields),
    )
    images = np.zeros((len(splits), image_size, image_size), np.uint8)
    dataset = Dataset(Path(), images, np.array(splits, np.uint8))
    return foresee(request, dataset, Settings(fast_paths=fast_paths))


def judging(images):
    """Operations of the discriminator's way there, and of the way back to every input but the first layer's."""
    return images * (2 * sum(DISCRIMINATOR) + sum(DISCRIMINATOR[1:]))


def test_operations_are_those_of_a_step_that_computes_nothing_in_vain(countable):
    there = BATCH * sum(GENERATOR)
    teach_discriminator = there + judging(2 * BATCH)
    # The discriminator hands back, but does not learn: its weights' gradients are not among the work.
    teach_generator = there + BATCH * 2 * sum(DISCRIMINATOR) + BATCH * (sum(GENERATOR) + GENERATOR[1])
    plain = forecast_of(countable)
    assert plain.flops_per_step == pytest.approx(teach_discriminator + teach_generator, rel=0.02)
    assert plain.flops_per_step == plain.flops_per_step_plain
    twice = forecast_of(countable, hyperparameters={"d_steps": 2})
    assert twice.flops_per_step == pytest.approx(2 * teach_discriminator + teach_generator, rel=0.02)
    once = forecast_of(countable, fast_paths=ONE_PASS)
    assert once.flops_per_step == pytest.approx(teach_discriminator + teach_generator - there, rel=0.02)
    assert once.flops_per_step_plain == plain.flops_per_step


def test_a_penalty_that_some_steps_take_is_shared_out_over_all(countable):
    """The way there, back to the images, and back through both: each product of either way is two more products."""
    without = forecast_of(countable)
    each, fourth = (forecast_of(countable, hyperparameters={"r1_weight": 1, "r1_every": every}) for every in (1, 4))
    penalty = each.flops_per_step - without.flops_per_step
    there_and_back = BATCH * 2 * sum(DISCRIMINATOR)
    assert 2 * there_and_back < penalty < 3.1 * there_and_back
    assert fourth.flops_per_step - without.flops_per_step == pytest.approx(penalty / 4, rel=0.01)
    assert fourth.memory_bytes == each.memory_bytes
    assert held(each) >= held(without)


def test_options_are_foreseen_as_they_are_trained(countable):
    plain = forecast_of(countable)
    augmented = forecast_of(countable, hyperparameters={"diff_augment": ["brightness", "translation"]})
    assert plain.flops_per_step < augmented.flops_per_step < 1.05 * plain.flops_per_step
    normalized = forecast_of(countable, hyperparameters={"spectral_norm": True})
    assert normalized.parameters["discriminator"] == DISCRIMINATOR_PARAMETERS + 32 + 64 + 1
    # Three products of a vector with each kernel, in each of two passes, and as many for gradients, at most.
    kernels = DISCRIMINATOR_PARAMETERS - 32 - 64 - 1
    assert plain.flops_per_step < normalized.flops_per_step < plain.flops_per_step + 40 * kernels


def held(forecast):
    """Bytes that a step computes and holds at once."""
    return forecast.memory_bytes.gradients + forecast.memory_bytes.activations


@pytest.mark.parametrize("fast_paths", [frozenset(), ONE_PASS], ids=["two generator passes", "one"])
def test_memory_is_what_is_held_at_once_when_that_is_most(countable, fast_paths):
    forecast = forecast_of(countable, fast_paths=fast_paths)
    memory = forecast.memory_bytes
    assert memory.weights == 4 * PARAMETERS
    assert memory.optimizers == pytest.approx(memory.weights, abs=32)  # a slot for each weight, and some counters
    assert memory.gradients == 4 * max(GENERATOR_PARAMETERS, DISCRIMINATOR_PARAMETERS)
    assert (memory.average, memory.data) == (0, 0)
    # When the gradient of the discriminator's last map is there, before and behind its activation. What generates for
    # the other update is already there, too, and so is a part of each optimiser's work: neither has to wait.
    discriminating = 2 * BATCH * (IMAGE + JUDGED + 2 * LAST_MAP)
    assert held(forecast) == pytest.approx(4 * (discriminating + BATCH * GENERATED + PARAMETERS), rel=0.01)
    parts = memory.model_dump()
    assert parts.pop("total") == sum(parts.values())


def test_of_a_small_batch_the_changes_of_the_weights_are_the_most(countable):
    # In RMSprop: the slot's decay, the square of the gradient, its share, and the gradient times the rate.
    assert held(forecast_of(countable, batch_size=1)) == pytest.approx(4 * 4 * GENERATOR_PARAMETERS, rel=0.15)


def test_an_average_and_a_dataset_on_the_device_take_memory_too(countable):
    fast_paths = frozenset({FastPath.RESIDENT_DATA})
    memory = forecast_of(countable, fast_paths=fast_paths, hyperparameters={"ema_decay": 0.9}).memory_bytes
    assert memory.average == 4 * GENERATOR_PARAMETERS
    assert memory.data == 3 * 8 * 8
    varied = forecast_of(countable, fast_paths=fast_paths, classical_augmentation="chest")
    assert (varied.memory_bytes.data, varied.fast_paths) == (0, ())


def test_in_half_precision_two_bytes_wait_where_layers_compute_in_it(countable):
    whole, half = (forecast_of(countable, precision=precision) for precision in ("float32", "bfloat16"))
    assert (whole.precision, half.precision) == ("float32", "bfloat16")
    assert half.memory_bytes.weights == whole.memory_bytes.weights
    # When the last layer, which is float32, takes a copy of the map before it, and of that the product its own.
    discriminating = 2 * BATCH * (2 * (IMAGE + JUDGED) + 2 * 4 * LAST_MAP)
    generating = BATCH * (2 * (100 + 512) + 4 * (512 + IMAGE))
    assert held(half) == pytest.approx(discriminating + generating + 4 * PARAMETERS, rel=0.02)
    assert half.flops_per_step == pytest.approx(whole.flops_per_step, rel=0.02)


def test_devices_share_the_batch_and_each_holds_the_weights(countable, monkeypatch):
    alone = forecast_of(countable)
    monkeypatch.setattr("worker.stages.foresee.device_names", lambda _: ("CPU:0", "CPU:1", "CPU:2", "CPU:3"))
    together, two = forecast_of(countable), forecast_of(countable, devices=2)
    assert (together.devices, two.devices) == (4, 2)
    assert together.flops_per_step == pytest.approx(alone.flops_per_step, rel=0.02)
    work_of_optimizers = 4 * PARAMETERS
    assert held(together) - work_of_optimizers == pytest.approx((held(alone) - work_of_optimizers) / 4, rel=0.02)
    assert together.memory_bytes.weights == alone.memory_bytes.weights
    assert together.images_seen == alone.images_seen == 10 * BATCH


def test_images_are_counted_for_every_update_of_the_discriminator(tiny):
    forecast = forecast_of(tiny, batch_size=4, steps=7, hyperparameters={"d_steps": 2})
    assert (forecast.steps, forecast.images_seen) == (7, 7 * 4 * 2)


def test_the_reference_network_takes_what_was_worked_out_for_it():
    """Operations for a real image at 64x64, from layer shapes: 10.1e9 plain; 6.4e9 with two of the fast paths."""
    exact = frozenset({FastPath.SMALL_KERNELS, FastPath.MIRRORED_KERNELS, FastPath.ONE_GENERATOR_PASS})
    forecast = forecast_of("dcgan64", batch_size=64, image_size=64, fast_paths=exact)
    assert forecast.flops_per_step_plain / 64 == pytest.approx(10.1e9, rel=0.02)
    assert forecast.flops_per_step / 64 == pytest.approx(6.4e9, rel=0.02)
    assert forecast.fast_paths == ("mirrored_kernels", "one_generator_pass", "small_kernels")


def test_of_classes_the_embeddings_are_counted_and_their_products(tmp_path):
    def of(family, **classes):
        request = TrainingRequest(
            dataset=Kind.DATASET.new_id(),
            model={"family": family, "hyperparameters": {"width": 0.05}},
            batch_size=16,
            precision="float32",
            **classes,
        )
        images = np.zeros((6, 28, 28), np.uint8)
        dataset = labelled_dataset(tmp_path, images, ["Mass", "Nodule", "", "Mass|Nodule", "Mass", ""])
        return foresee(request, dataset, Settings(fast_paths=frozenset()))

    without, two, four = (
        of("minuscule28"),
        of("minuscule28-conditional", classes={"only": ["Mass", "Nodule"]}),
        of("minuscule28-conditional"),
    )
    channels = round(0.05 * 512)
    for network, size in (("generator", 50), ("discriminator", channels)):
        assert four.parameters[network] - two.parameters[network] == 2 * size
    assert two.parameters["discriminator"] == without.parameters["discriminator"] + 2 * channels
    assert four.flops_per_step > two.flops_per_step > without.flops_per_step
    assert four.memory_bytes.weights > two.memory_bytes.weights > without.memory_bytes.weights
    with pytest.raises(InvalidRequest, match=r"no class 'Mas'\. Did you mean 'Mass'"):
        of("minuscule28", classes={"only": ["Mas"]})
    with pytest.raises(InvalidRequest, match="there is PA alone"):
        of("minuscule28-conditional", classes={"by": "view"})


def test_nothing_of_it_stays_in_the_process(countable):
    def kept():
        gc.collect()
        return sum(issubclass(type(each), tf.Graph | keras.Model) for each in gc.get_objects())

    forecast_of(countable, fast_paths=ONE_PASS)
    before = kept()
    forecast_of(countable, fast_paths=ONE_PASS)
    assert kept() == before


def test_what_cannot_be_trained_is_refused(countable):
    with pytest.raises(UnknownFamily, match="countable"):
        forecast_of("countible")
    with pytest.raises(InvalidRequest, match="width"):
        forecast_of(countable, hyperparameters={"width": 0})


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"image_size": 16}, InvalidRequest, "16 pixels on a side and countable makes 8"),
        ({"splits": (1, 2)}, InvalidRequest, "give `train` a larger split"),
        ({"splits": ()}, InvalidRequest, "give `train` a larger split"),
        ({"devices": "all", "batch_size": 3}, InvalidRequest, "3 cannot be shared out evenly over 2 devices"),
        ({"devices": 4}, DevicesUnavailable, r"has 2 device\(s\) .* asks for 4"),
        ({"evaluate_every": 1}, InvalidRequest, "8 pixels on a side, and an evaluation needs 16"),
    ],
)
def test_what_does_not_go_together_is_refused_as_by_the_training(countable, monkeypatch, wrong, error, sentence):
    monkeypatch.setattr("worker.stages.foresee.device_names", lambda _: ("CPU:0", "CPU:1"))
    with pytest.raises(error, match=sentence):
        forecast_of(countable, **({"devices": 1} | wrong))


def test_evaluations_on_the_way_are_checked_as_by_the_training(install, countable):
    own = """
    from countable_family import Countable, Input, Sequential, layers

    class Namesake(Countable):
        name = "namesake"
        image_size = 16

        def generator(self, hyperparameters, classes):
            return Sequential([Input((100,)), layers.Dense(256), layers.Reshape((16, 16, 1))])

        def discriminator(self, hyperparameters, classes):
            return Sequential([Input((16, 16, 1)), layers.Flatten(), layers.Dense(1)])

        def step(self, networks, batch, hyperparameters):
            metrics = super().step(networks, batch, hyperparameters)
            return metrics | {"recall": metrics["d_acc"]}
    """
    install("namesake_family", own, "Namesake")

    def of(images, *metrics):
        asked = {"evaluate_every": 1, "evaluate_metrics": ["kernel_distance", *metrics]}
        return forecast_of("namesake", image_size=16, splits=(0,) * images, batch_size=4, **asked)

    assert of(40).steps == 10
    with pytest.raises(InvalidRequest, match="39 images to learn from and 0 to validate with"):
        of(39)
    with pytest.raises(InvalidRequest, match="namesake has a metric recall of its own"):
        of(40, "recall")
