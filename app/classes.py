"""Checks which classes a training or study is to learn, or to be kept to, as far as a dataset's counts tell.

How many images there are of lists of findings, its counts do not tell, but its items do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from worker.contract.checkpoints import CheckpointRecord
from worker.contract.errors import FieldError
from worker.contract.requests import ClassChoice, TrainingRequest
from worker.contract.resources import RequestRecord, Resource
from worker.contract.results import FamilyDescription
from worker.contract.store import Store
from worker.sources.base import NO_FINDING
from worker.sources.classes import LABEL_SEPARATOR, check_number, classes_kept_to
from worker.sources.items import class_counts
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


def images_to_compare(
    store: Store, dataset: Resource, part: str, training: RequestRecord, checkpoint: CheckpointRecord
) -> int:
    """How many images of a part of a training's dataset are of the classes that the training was kept to."""
    asked = TrainingRequest.model_validate(training.request).classes
    kept = classes_kept_to(asked, checkpoint.classes)
    if kept.only is None:
        return int((dataset.result or {})["counts"]["split"].get(part, 0))
    sizes = class_counts(store.folder(dataset.id), kept.by, part)
    return sum(sizes[name] for name in kept.only)


def _wrong_values(names: tuple[str, ...], known: Collection[str]) -> Iterator[FieldError]:
    return wrong_names("#/classes/only", "class", names, known)


def _wrong_findings(names: tuple[str, ...], known: Collection[str]) -> Iterator[FieldError]:
    """An error for each class that has a finding which no image has."""
    for index, name in enumerate(names):
        for finding in name.split(LABEL_SEPARATOR):
            if finding not in {*known, NO_FINDING}:
                yield FieldError(pointer=f"#/classes/only/{index}", detail=no_such("label", finding, known))
