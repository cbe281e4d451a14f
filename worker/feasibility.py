"""Whether a training can be done at all: asked before one begins, and by its dry run."""

from collections.abc import Sequence
from typing import Any

from worker.contract.errors import InvalidRequest
from worker.contract.requests import TrainingRequest
from worker.dataset import Dataset
from worker.devices import choose
from worker.models.base import Family


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


def _check_dataset(dataset: Dataset, family: Family[Any]) -> None:
    if dataset.image_size != family.image_size:
        raise InvalidRequest.at(
            "#/dataset",
            f"The dataset's images are {dataset.image_size} pixels on a side and {family.name} makes "
            f"{family.image_size}: prepare a dataset with image_size {family.image_size}, or take another family.",
        )
    if not len(dataset.indices("train")):
        raise InvalidRequest.at("#/dataset", "No image of the dataset is for training: give `train` a larger split.")
