"""What is measured of RaGAN: its trainers and samplers, made as a worker makes them, on noise where it does not matter.

A fast path or a precision that is not named is the one that a worker would choose.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from worker.devices import device_names, open_strategy
from worker.fast_paths import FastPaths, for_drawing, for_training, taking
from worker.models.base import DEFAULT, Family
from worker.models.registry import family
from worker.population import Population
from worker.precision import Precision, computing_in, resolve
from worker.sampling import Sampler, sampler_of
from worker.trainer import Plan, Trainer


def noise(image_size: int, count: int = 1024) -> NDArray[np.uint8]:
    """Images (count, image_size, image_size) without anything to learn."""
    return np.random.default_rng(0).integers(0, 256, (count, image_size, image_size), np.uint8)


def all_of(images: NDArray[np.uint8]) -> Population:
    """All images, to learn without labels."""
    return Population(images, np.arange(len(images)))


def build_trainer(
    name: str,
    batch_size: int,
    *,
    preset: str = DEFAULT,
    hyperparameters: Mapping[str, Any] | None = None,
    population: Population | None = None,
    seed: int = 0,
    precision: Precision | None = None,
    fast_paths: FastPaths | None = None,
    devices: int = 1,
) -> Trainer:
    """A trainer of a family on so many GPUs, or logical devices of the CPU where there is no GPU."""
    kind: Family[Any] = family(name)
    device = device_names(devices)[0]
    return Trainer(
        kind,
        kind.configure(preset, hyperparameters or {}),
        open_strategy(devices, devices),
        population or all_of(noise(kind.image_size)),
        Plan(
            batch_size=batch_size,
            seed=seed,
            precision=precision or resolve("auto", device),
            fast_paths=for_training(fast_paths, device, devices=devices),
        ),
    )


def build_generator(name: str, fast_paths: FastPaths, precision: Precision = "float32") -> keras.Model:
    """A generator that has learned nothing, whose weights are the same every time."""
    kind: Family[Any] = family(name)
    with taking(fast_paths), computing_in(precision):
        keras.utils.set_random_seed(0)
        return kind.generator(kind.configure(DEFAULT, {}), 0)


def build_sampler(name: str, fast_paths: FastPaths | None = None, precision: Precision = "float32") -> Sampler:
    """Draws images by such a generator as a generation does."""
    paths = for_drawing(fast_paths, device_names()[0])
    with taking(paths), computing_in(precision):
        return sampler_of(build_generator(name, paths, precision), paths)
