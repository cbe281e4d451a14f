from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainers import labelled_dataset
from worker.contract.checkpoints import NO_CLASSES, LearntClasses
from worker.contract.errors import DevicesUnavailable, InvalidRequest
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind
from worker.dataset import Dataset
from worker.feasibility import check_metric_names, compared_on_the_way, devices_to_share
from worker.models import registry

NAMES = ("GPU:0", "GPU:1")


def shared(
    family: str, *, image_size: int = 8, splits: tuple[int, ...] = (0, 0, 1, 2), batch_size: int = 4, **fields: Any
) -> int:
    request = TrainingRequest(dataset=Kind.DATASET.new_id(), model={"family": family}, batch_size=batch_size, **fields)
    images = np.zeros((len(splits), image_size, image_size), np.uint8)
    dataset = Dataset(Path(), images, np.array(splits, np.uint8))
    return devices_to_share(request, dataset, registry.family(family), NAMES)


@pytest.mark.parametrize(("devices", "expected"), [("all", 2), (2, 2), (1, 1)])
def test_a_batch_is_shared_out_over_all_devices_or_as_many_as_asked_for(
    tiny: str, devices: str | int, expected: int
) -> None:
    assert shared(tiny, devices=devices) == expected


@pytest.mark.parametrize(
    ("wrong", "pointer", "sentence"),
    [
        ({"image_size": 16}, "#/dataset", "images are 16 pixels on a side and tiny makes 8: prepare a dataset with"),
        ({"splits": (1, 2)}, "#/dataset", "No image of the dataset is for training: give `train` a larger split"),
        ({"splits": ()}, "#/dataset", "No image of the dataset is for training: give `train` a larger split"),
        ({"batch_size": 5}, "#/batch_size", "A batch of 5 cannot be shared out evenly over 2 devices: take a multiple"),
    ],
)
def test_what_does_not_go_together_is_refused_at_its_field(
    tiny: str, wrong: dict[str, Any], pointer: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        shared(tiny, **wrong)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_more_devices_than_there_are_are_refused_with_those_that_there_are(tiny: str) -> None:
    with pytest.raises(
        DevicesUnavailable, match=r"has 2 device\(s\) \(GPU:0, GPU:1\) and the training asks for 4: ask for at most 2"
    ):
        shared(tiny, devices=4)


@pytest.mark.parametrize(
    ("only", "learnt", "expected"),
    [
        (None, NO_CLASSES, ("validation", 60)),
        (("Mass",), NO_CLASSES, ("train", 50)),
        (("Mass",), LearntClasses(by="labels", names=("Mass", "Nodule")), ("validation", 60)),
        (None, LearntClasses(by="labels", names=("Mass",)), ("train", 50)),
    ],
)
def test_evaluations_on_the_way_are_of_the_classes_that_are_learnt(
    tmp_path: Path, only: tuple[str, ...] | None, learnt: LearntClasses, expected: tuple[str, int]
) -> None:
    """Of a hundred images to learn from and sixty to validate with, every second shows a mass."""
    images = np.zeros((160, 16, 16), np.uint8)
    dataset = labelled_dataset(tmp_path, images, ["Mass", "Nodule"] * 80, ["train"] * 100 + ["validation"] * 60)
    request = TrainingRequest(dataset="ds_x", evaluate_every=1, classes=only and {"only": only})
    compared, part = compared_on_the_way(request, dataset, learnt)
    assert (part, len(compared.indices(part))) == expected


def test_a_name_is_given_to_one_metric(tiny: str) -> None:
    asked = {"dataset": "ds_x", "evaluate_metrics": ("kernel_distance", "recall")}
    family = registry.family(tiny)
    check_metric_names(TrainingRequest(**asked), family, ["d_loss", "recall"])
    check_metric_names(TrainingRequest(**asked, evaluate_every=5), family, ["d_loss", "frechet_distance"])
    with pytest.raises(InvalidRequest, match="tiny has a metric recall of its own") as caught:
        check_metric_names(TrainingRequest(**asked, evaluate_every=5), family, ["d_loss", "recall"])
    assert [error.pointer for error in caught.value.errors] == ["#/evaluate_metrics/1"]
