"""Trainers that a test can afford."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.devices import open_strategy
from worker.fast_paths import DEFAULTS, FastPaths
from worker.models.base import CommonHyperparameters, Family
from worker.precision import Precision
from worker.trainer import Plan, Population, Trainer


def noise(image_size: int, count: int = 10) -> NDArray[np.uint8]:
    """Images without anything to learn."""
    return np.random.default_rng(2018).integers(0, 256, (count, image_size, image_size), np.uint8)


def trainer_of(
    family: Family[Any],
    hyperparameters: CommonHyperparameters,
    *,
    images: NDArray[np.uint8] | None = None,
    batch_size: int = 2,
    seed: int = 0,
    devices: int = 1,
    logical_devices: int = 1,
    precision: Precision = "float32",
    fast_paths: FastPaths = DEFAULTS["CPU"],
) -> Trainer:
    """A trainer on noise, or on all of some images, that takes the fast paths of a CPU."""
    shown = noise(family.image_size) if images is None else images
    return Trainer(
        family,
        hyperparameters,
        open_strategy(devices, logical_devices),
        Population(shown, np.arange(len(shown))),
        Plan(batch_size=batch_size, seed=seed, precision=precision, fast_paths=fast_paths),
    )
