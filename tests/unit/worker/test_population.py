from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainers import labelled_dataset
from worker.contract.checkpoints import NO_CLASSES
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ClassChoice, TrainingRequest
from worker.dataset import Dataset
from worker.models import registry
from worker.population import Population, population_of

LABELS = ["Nodule", "", "Mass", "Effusion|Mass", "Mass", "Nodule", "Mass"]
SPLITS = ["train", "train", "train", "test", "train", "train", "validation"]


@pytest.mark.parametrize(("images", "chosen", "expected"), [(5, [0, 3, 3], 3 * 8 * 8), (5, [], 0), (0, [], 0)])
def test_a_population_knows_how_many_bytes_its_pixels_take(images: int, chosen: list[int], expected: int) -> None:
    population = Population(np.zeros((images, 8, 8), np.uint8), np.array(chosen, np.int64))
    assert population.bytes == expected


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Seven images, each of its own grey, of four classes, one of which has no image to train on."""
    images = np.repeat(np.arange(7, dtype=np.uint8), 28 * 28).reshape(7, 28, 28)
    return labelled_dataset(tmp_path, images, LABELS, SPLITS)


def population(dataset: Dataset, family: str, **classes: Any) -> Population:
    choice = ClassChoice(**classes) if classes else None
    return population_of(TrainingRequest(dataset="ds_x", classes=choice), dataset, registry.family(family))


def test_without_a_choice_every_image_of_the_training_part_is_learnt_from(dataset: Dataset) -> None:
    everything = population(dataset, "minuscule28")
    assert everything.indices.tolist() == population(dataset, "minuscule28", by="sex").indices.tolist()
    assert everything.indices.tolist() == [0, 1, 2, 4, 5]
    assert (everything.classes, everything.class_sizes) == (NO_CLASSES, ())


def test_a_family_without_labels_is_kept_to_the_classes_named(dataset: Dataset) -> None:
    kept = population(dataset, "minuscule28", only=("Nodule", "No Finding"))
    assert kept.indices.tolist() == [0, 1, 5]
    assert kept.classes == NO_CLASSES


def test_a_family_with_labels_learns_all_classes_that_have_images_to_train_on(dataset: Dataset) -> None:
    learnt = population(dataset, "minuscule28-conditional")
    assert (learnt.classes.by, learnt.classes.names) == ("labels", ("Mass", "No Finding", "Nodule"))
    assert learnt.class_sizes == (2, 1, 2)
    assert learnt.take(np.arange(5))[:, 0, 0].tolist() == [2, 4, 1, 0, 5]


def test_classes_are_learnt_in_the_order_in_which_they_are_named(dataset: Dataset) -> None:
    learnt = population(dataset, "minuscule28-conditional", only=("Nodule", "Mass"))
    assert learnt.classes.names == ("Nodule", "Mass")
    assert learnt.indices.tolist() == [0, 5, 2, 4]


@pytest.mark.parametrize("family", ["minuscule28", "minuscule28-conditional"])
@pytest.mark.parametrize(
    ("only", "pointer", "sentence"),
    [
        (("Mass", "nodul"), "#/classes/only/1", "no class 'nodul'. Did you mean 'Nodule'"),
        (("Mass", "Effusion|Mass"), "#/classes/only/1", r"No image of the class 'Effusion\|Mass' is for training"),
    ],
)
def test_a_class_that_cannot_be_learnt_from_is_refused(
    dataset: Dataset, family: str, only: tuple[str, ...], pointer: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        population(dataset, family, only=only)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_one_class_is_too_few_for_a_family_with_labels_and_a_hundred_and_one_are_too_many(
    dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="there is Mass alone: take 2 or more"):
        population(dataset, "minuscule28-conditional", only=("Mass",))
    with pytest.raises(InvalidRequest, match="there is F alone"):
        population(dataset, "minuscule28-conditional", by="sex")
    images = np.zeros((101, 28, 28), np.uint8)
    many = labelled_dataset(tmp_path / "many", images, [f"finding {index}" for index in range(101)])
    with pytest.raises(InvalidRequest, match="There are 101 classes and minuscule28-conditional learns 100"):
        population(many, "minuscule28-conditional")
    assert len(population(many, "minuscule28")) == 101
