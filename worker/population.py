"""The images that a training learns from, and the classes that it learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.contract.checkpoints import NO_CLASSES, LearntClasses
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ClassChoice, TrainingRequest
from worker.dataset import Dataset, ImageClasses
from worker.models.base import Family
from worker.sources.classes import check_number, classes_kept_to
from worker.sources.names import refuse, wrong_names


@dataclass(frozen=True)
class Population:
    """The images to train on: uint8 (images, S, S), memory-mapped, of which those at `indices` are meant.

    Where classes are learnt, those of one class lie together in `indices`, in the order of the names, and
    `class_sizes` tells how many there are of each.
    """

    images: NDArray[np.uint8]
    indices: NDArray[np.int64]
    classes: LearntClasses = NO_CLASSES
    class_sizes: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def bytes(self) -> int:
        """Of all pixels."""
        return len(self) * int(np.prod(self.images.shape[1:]))

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images at positions of `indices`, in the shape of the positions and (S, S)."""
        return self.images[self.indices[positions]]


def population_of(request: TrainingRequest, dataset: Dataset, family: Family[Any]) -> Population:
    """What a training learns from: of the dataset's `train` part, the images of the classes that were asked for.

    Raises:
        InvalidRequest: the dataset does not have a class, or none of its images is for training; or a family that
            takes labels cannot learn as many classes.
    """
    choice = request.classes or ClassChoice()
    train = dataset.indices("train")
    if choice.only is None and not family.takes_labels:
        return Population(dataset.images, train)
    found = dataset.classes(choice.by)
    names = _names(choice, found, train)
    members = [train[found.codes[train] == found.names.index(name)] for name in names]
    if not family.takes_labels:
        return Population(dataset.images, np.sort(np.concatenate(members)))
    check_number(family.name, names)
    classes = LearntClasses(by=choice.by, names=names)
    return Population(dataset.images, np.concatenate(members), classes, tuple(map(len, members)))


def kept_to(dataset: Dataset, choice: ClassChoice | None, learnt: LearntClasses) -> Dataset:
    """The dataset with the images alone in its parts that are of a class of a training.

    Args:
        dataset: That of the training.
        choice: What the training was asked to keep to.
        learnt: What it tells apart.
    """
    kept = classes_kept_to(choice, learnt)
    return dataset if kept.only is None else dataset.of_classes(kept.by, kept.only)


def labels_of(dataset: Dataset, learnt: LearntClasses, places: NDArray[np.int64]) -> list[str] | None:
    """The classes of the images at some places, None if there is no telling apart."""
    if learnt.by is None:
        return None
    found = dataset.classes(learnt.by)
    return [found.names[code] for code in found.codes[places]]


def _names(choice: ClassChoice, found: ImageClasses, train: NDArray[np.int64]) -> Sequence[str]:
    """The classes asked for, else all that have an image to train on."""
    trained = set(np.unique(found.codes[train]).tolist())
    if choice.only is None:
        return tuple(name for code, name in enumerate(found.names) if code in trained)
    refuse(wrong_names("#/classes/only", "class", choice.only, found.names))
    for index, name in enumerate(choice.only):
        if found.names.index(name) not in trained:
            raise InvalidRequest.at(
                f"#/classes/only/{index}",
                f"No image of the class {name!r} is for training: leave it out, or give `train` a larger split.",
            )
    return choice.only
