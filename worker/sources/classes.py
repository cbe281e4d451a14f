"""Classes of images by their names: how many can be learnt, and which of them a generation draws."""

from collections.abc import Sequence

from worker.contract.checkpoints import LearntClasses
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ClassChoice
from worker.sources.names import refuse, wrong_names

LABEL_SEPARATOR = "|"
"""Between the findings of an image, which together are its class."""
FEWEST_CLASSES, MOST_CLASSES = 2, 100
"""That a family learns to tell apart: one needs no labels, and of very many each has few images."""


def check_number(family: str, names: Sequence[str]) -> None:
    """InvalidRequest unless a family that takes labels can learn so many classes."""
    if len(names) < FEWEST_CLASSES:
        raise InvalidRequest.at(
            "#/classes",
            f"{family} learns to tell classes apart and there is {', '.join(names)} alone: take {FEWEST_CLASSES} or "
            "more, or a family without labels.",
        )
    if len(names) > MOST_CLASSES:
        raise InvalidRequest.at(
            "#/classes",
            f"There are {len(names)} classes and {family} learns {MOST_CLASSES} at the most: name some with `only`.",
        )


def check_told_apart(names: Sequence[str]) -> None:
    """InvalidRequest unless the classifiers of a study can tell so many classes apart."""
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES:
        raise InvalidRequest.at(
            "#/classes",
            f"A study tells {FEWEST_CLASSES} to {MOST_CLASSES} classes apart, and there are {len(names)}: name some "
            "with `only`, take another field with `by`, or a dataset with more than one.",
        )


def check_unlabelled(family: str, *, takes_labels: bool) -> None:
    """InvalidRequest for a study's generator of a family that takes labels."""
    if takes_labels:
        raise InvalidRequest.at(
            "#/generator/model/family",
            f"{family} learns several classes at once, and a study trains a generator of each class: take a family "
            "without labels.",
        )


def labels_to_draw(asked: tuple[str, ...] | None, learnt: LearntClasses, family: str) -> tuple[str, ...] | None:
    """The labels that the images of a generation take in turn: those asked for, else all; None where there are none.

    Raises:
        InvalidRequest: the training knows no labels, or not these.
    """
    if not learnt.names:
        if asked is not None:
            raise InvalidRequest.at("#/labels", f"{family} was trained without labels: leave `labels` out.")
        return None
    refuse(wrong_names("#/labels", "class", asked or (), learnt.names))
    return asked or learnt.names


def classes_kept_to(choice: ClassChoice | None, learnt: LearntClasses) -> ClassChoice:
    """Whose images alone a training is compared with; all there are where `only` is None.

    Args:
        choice: What the training was asked to keep to.
        learnt: What it tells apart.
    """
    if learnt.by is not None:
        return ClassChoice(by=learnt.by, only=learnt.names)
    return choice or ClassChoice()


def label_of(labels: Sequence[str], index: int) -> str:
    """The label of an image of a generation, whose images take these labels in turn."""
    return labels[index % len(labels)]


def labels_in_turn(labels: Sequence[str] | None, first: int, count: int) -> list[str] | None:
    """Those of `count` images of a generation from one on; None where it has no labels."""
    return None if labels is None else [label_of(labels, index) for index in range(first, first + count)]
