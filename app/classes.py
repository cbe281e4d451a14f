"""Checks which classes a training or study is to learn, or to be kept to, as far as a dataset's counts tell."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from worker.contract.errors import FieldError
from worker.contract.requests import ClassChoice
from worker.contract.results import FamilyDescription
from worker.sources.base import NO_FINDING
from worker.sources.classes import LABEL_SEPARATOR, check_number
from worker.sources.names import no_such, refuse, wrong_names


def complete_classes(
    choice: ClassChoice | None, family: FamilyDescription, counts: Mapping[str, Mapping[str, int]]
) -> ClassChoice | None:
    """The choice, by findings for a family that takes labels if there is none.

    Counts tell each finding and not which of them an image has together: that is left to the worker, and so is whether
    a class has images to train on.

    Args:
        choice: The request's.
        family: What is to be trained.
        counts: Images of the dataset, by field and value.

    Raises:
        InvalidRequest: the dataset does not have a class, or the family cannot learn as many.
    """
    if choice is None:
        return ClassChoice() if family.takes_labels else None
    if (names := known_classes(choice, counts)) is not None and family.takes_labels:
        check_number(family.family, names)
    return choice


def known_classes(choice: ClassChoice, counts: Mapping[str, Mapping[str, int]]) -> Sequence[str] | None:
    """The classes that a choice means; None where that are lists of findings, of which counts do not tell.

    InvalidRequest if the dataset does not have one of them.
    """
    known = counts["label"] if choice.by == "labels" else counts[choice.by]
    if choice.only is not None:
        wrong = _wrong_findings(choice.only, known) if choice.by == "labels" else _wrong_values(choice.only, known)
        refuse(wrong)
        return choice.only
    return None if choice.by == "labels" else tuple(known)


def _wrong_values(names: tuple[str, ...], known: Collection[str]) -> Iterator[FieldError]:
    return wrong_names("#/classes/only", "class", names, known)


def _wrong_findings(names: tuple[str, ...], known: Collection[str]) -> Iterator[FieldError]:
    """An error for each class that has a finding which no image has."""
    for index, name in enumerate(names):
        for finding in name.split(LABEL_SEPARATOR):
            if finding not in {*known, NO_FINDING}:
                yield FieldError(pointer=f"#/classes/only/{index}", detail=no_such("label", finding, known))
