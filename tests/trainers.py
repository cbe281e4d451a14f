"""Trainers that a test can afford."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.contract.checkpoints import LearntClasses
from worker.contract.requests import ClassicalPreset
from worker.dataset import Dataset
from worker.devices import open_strategy
from worker.fast_paths import DEFAULTS, FastPaths
from worker.models.base import CommonHyperparameters, Family
from worker.population import Population
from worker.precision import Precision
from worker.sources.base import SPLITS
from worker.sources.items import ITEM_COLUMNS, ITEMS
from worker.trainer import Plan, Trainer


def noise(image_size: int, count: int = 10) -> NDArray[np.uint8]:
    """Images without anything to learn."""
    return np.random.default_rng(2018).integers(0, 256, (count, image_size, image_size), np.uint8)


def labelled_dataset(
    folder: Path,
    images: NDArray[np.uint8],
    labels: Sequence[str],
    splits: Sequence[str] | None = None,
    patients: Sequence[int] | None = None,
) -> Dataset:
    """Images (N, S, S) whose findings, joined with |, are in an items.csv.

    All are for training, and each of another patient, unless it is said.
    """
    parts, whose = splits or ["train"] * len(images), patients or range(len(images))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ITEMS).open("w", newline="") as file:
        writer = csv.DictWriter(file, ITEM_COLUMNS, restval="")
        writer.writeheader()
        for index, (findings, part, patient) in enumerate(zip(labels, parts, whose, strict=True)):
            item = {"labels": findings, "patient": patient, "view": "PA", "sex": "F", "split": part, "index": index}
            writer.writerow(item)
    return Dataset(folder, images, np.array([SPLITS.index(part) for part in parts], np.uint8))


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
    classical_augmentation: ClassicalPreset | None = None,
) -> Trainer:
    """A trainer on noise, or on all of some images, that takes the fast paths of a CPU.

    Of a family that takes labels, the first image is of one class, and the others are of another.
    """
    shown = noise(family.image_size) if images is None else images
    population = Population(shown, np.arange(len(shown)))
    if family.takes_labels:
        classes = LearntClasses(by="labels", names=("rare", "usual"))
        population = replace(population, classes=classes, class_sizes=(1, len(shown) - 1))
    return Trainer(
        family,
        hyperparameters,
        open_strategy(devices, logical_devices),
        population,
        Plan(batch_size, seed, precision, fast_paths, classical_augmentation),
    )
