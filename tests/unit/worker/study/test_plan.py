"""Of whom a study is, in which folds, and by which random numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset, noise
from worker.contract.errors import InvalidRequest
from worker.contract.study_requests import StudyRequest
from worker.dataset import Dataset
from worker.study.plan import folds_of, forecast, random_seed, subjects_of

LABELS = ("Mass", "Nodule", "Effusion")


def dataset(
    folder: Path,
    images: NDArray[np.uint8] | None = None,
    splits: Sequence[str] | None = None,
    patients: Sequence[int] | None = None,
) -> Dataset:
    """Noise of 30 images, 8 pixels on a side, in three classes by turns."""
    shown = noise(8, 30) if images is None else images
    labels = [LABELS[index % 3] for index in range(len(shown))]
    return labelled_dataset(folder, shown, labels, splits, patients)


def asked(**more: Any) -> StudyRequest:
    return StudyRequest(dataset="ds_x", **more)


def test_subjects_are_the_images_of_the_classes_in_the_order_in_which_these_are_named(tmp_path) -> None:
    subjects = subjects_of(asked(classes={"only": ("Nodule", "Mass")}), dataset(tmp_path))
    assert subjects.names == ("Nodule", "Mass")
    assert subjects.places.tolist() == [place for place in range(30) if place % 3 < 2]
    assert subjects.codes.tolist() == [1 - place % 3 for place in subjects.places]
    assert subjects.patients.tolist() == subjects.places.tolist()
    assert (len(set(subjects.units)), subjects.repeated) == (20, 0)


def test_without_a_choice_all_classes_are_told_apart(tmp_path) -> None:
    assert subjects_of(asked(), dataset(tmp_path)).names == ("Effusion", "Mass", "Nodule")


def test_patients_who_share_an_image_count_as_one(tmp_path) -> None:
    images = noise(8, 30)
    images[7], images[20] = images[3], images[7]
    subjects = subjects_of(asked(), dataset(tmp_path, images, patients=[place // 2 for place in range(30)]))
    units = subjects.units
    # 3 is of patient 1, 7 of 3, 20 of 10; each has another image.
    assert len({*units[[2, 3, 6, 7, 20, 21]].tolist()}) == 1
    assert len(set(units.tolist())) == 15 - 2
    assert subjects.repeated == 2
    for fold in folds_of(asked(folds=3), dataset(tmp_path, images), subjects):
        parts = [set(units[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_images_that_are_too_small_are_refused(tmp_path) -> None:
    with pytest.raises(InvalidRequest, match="4 pixels on a side, and a classifier needs 8"):
        subjects_of(asked(), dataset(tmp_path, noise(4, 30)))


def test_a_class_of_too_few_patients_is_refused(tmp_path) -> None:
    patients = [0 if place % 3 == 2 else place for place in range(30)]
    with pytest.raises(InvalidRequest, match="fewer folds, fewer classes") as refused:
        forecast(asked(folds=5), dataset(tmp_path, patients=patients))
    assert refused.value.errors[0].pointer == "#/folds"


PARTS = ["train"] * 18 + ["validation"] * 6 + ["test"] * 6


def test_without_folds_the_parts_of_the_dataset_are_taken(tmp_path) -> None:
    divided = dataset(tmp_path, splits=PARTS)
    (fold,) = folds_of(asked(folds=None), divided, subjects_of(asked(), divided))
    assert fold.train.tolist() == list(range(18))
    assert fold.validation.tolist() == list(range(18, 24))
    assert fold.test.tolist() == list(range(24, 30))


def test_without_folds_whoever_is_held_out_is_not_learnt_from(tmp_path) -> None:
    patients = list(range(30))
    patients[0], patients[1], patients[20] = 25, 20, 26  # 0 and 20 are tested on, 1 is the patient of 20
    patients[1] = patients[20]
    images = noise(8, 30)
    images[5] = images[22]
    divided = dataset(tmp_path, images, PARTS, patients)
    (fold,) = folds_of(asked(folds=None), divided, subjects_of(asked(), divided))
    assert fold.train.tolist() == [place for place in range(18) if place not in (0, 1, 5)]
    assert fold.validation.tolist() == [place for place in range(18, 24) if place != 20]
    assert fold.test.tolist() == list(range(24, 30))


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        (["train"] * 30, "The part 'validation' of the dataset has images of 0 of the 3 classes, and 2 are needed"),
        (["train", *PARTS[18:], *["test"] * 17], "The part 'train' of the dataset has images of 1 of the 3 classes"),
    ],
)
def test_a_part_without_classes_is_refused(tmp_path, splits, sentence) -> None:
    divided = dataset(tmp_path, splits=splits)
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        folds_of(asked(folds=None), divided, subjects_of(asked(), divided))
    assert refused.value.errors[0].pointer == "#/folds"


def test_a_seed_depends_on_the_place_alone_and_on_all_of_it() -> None:
    places = [
        (0, "generator", 0, "Mass"),
        (0, "generator", 0, "Nodule"),
        (0, "generator", 1, "Mass"),
        (1, "generator", 0, "Mass"),
    ]
    seeds = [random_seed(*place) for place in places]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [random_seed(*place) for place in places]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert random_seed(7, "folds") == 577_081_624


def test_a_forecast_counts_networks_and_images(tmp_path) -> None:
    foreseen = forecast(asked(folds=5, amounts=(0, 10, 20), generator={"steps": 7}), dataset(tmp_path))
    assert foreseen.classes == ("Effusion", "Mass", "Nodule")
    assert (foreseen.generators, foreseen.generator_steps, foreseen.synthetic_images) == (15, 105, 300)
    assert foreseen.classifiers == 5 * (3 + 3 * 2)
    assert len(foreseen.folds) == 5
    for fold in foreseen.folds:
        assert sum(sum(part.values()) for part in (fold.train, fold.validation, fold.test)) == 30
        assert set(fold.train) == set(foreseen.classes)
    assert foreseen.bytes > 300 * 8 * 8


def test_without_synthetic_arms_there_are_no_generators(tmp_path) -> None:
    foreseen = forecast(asked(folds=3, arms=("real_oversampled",)), dataset(tmp_path))
    assert (foreseen.generators, foreseen.generator_steps, foreseen.synthetic_images, foreseen.classifiers) == (
        0,
        0,
        0,
        6,
    )
