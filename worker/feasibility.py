"""Whether a training can be done at all: asked before one begins, and by its dry run."""

from collections.abc import Collection, Sequence
from typing import Any

from worker.contract.checkpoints import LearntClasses
from worker.contract.compared_part import part_to_compare_with
from worker.contract.errors import InvalidRequest
from worker.contract.requests import TrainingRequest
from worker.dataset import Dataset
from worker.devices import choose
from worker.models.base import Family
from worker.population import kept_to
from worker.sources.base import SPLITS


def devices_to_share(request: TrainingRequest, dataset: Dataset, family: Family[Any], names: Sequence[str]) -> int:
    """Over how many of a worker's devices, which have these names, a training shares out its batch.

    Raises:
        InvalidRequest: family, dataset, batch size and devices do not go together.
        DevicesUnavailable: there are fewer than asked for.
    """
    _check_dataset(dataset, family)
    devices = len(choose(request.devices, names))
    if request.batch_size % devices:
        raise InvalidRequest.at(
            "#/batch_size",
            f"A batch of {request.batch_size} cannot be shared out evenly over {devices} devices: take a multiple of "
            "that.",
        )
    return devices


def compared_on_the_way(request: TrainingRequest, dataset: Dataset, learnt: LearntClasses) -> tuple[Dataset, str]:
    """What a training with `evaluate_every` is compared with: its dataset, kept to its classes, and which part of that.

    Raises:
        InvalidRequest: there are too few images of these classes, or they are too small.
    """
    kept = kept_to(dataset, request.classes, learnt)
    return kept, part_to_compare_with(kept.image_size, {part: len(kept.indices(part)) for part in SPLITS})


def check_metric_names(request: TrainingRequest, family: Family[Any], metrics: Collection[str]) -> None:
    """InvalidRequest if a metric of the family's own has a name under which an evaluation is to be told."""
    if request.evaluate_every is None:
        return
    for index, name in enumerate(request.evaluate_metrics):
        if name in metrics:
            raise InvalidRequest.at(
                f"#/evaluate_metrics/{index}",
                f"{family.name} has a metric {name} of its own, which that of the evaluations would hide: take another "
                "one.",
            )


def _check_dataset(dataset: Dataset, family: Family[Any]) -> None:
    if dataset.image_size != family.image_size:
        raise InvalidRequest.at(
            "#/dataset",
            f"The dataset's images are {dataset.image_size} pixels on a side and {family.name} makes "
            f"{family.image_size}: prepare a dataset with image_size {family.image_size}, or take another family.",
        )
    if not len(dataset.indices("train")):
        raise InvalidRequest.at("#/dataset", "No image of the dataset is for training: give `train` a larger split.")
