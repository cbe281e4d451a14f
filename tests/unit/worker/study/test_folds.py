"""Folds keep patients apart and lose no image, whatever the patients; what cannot be dealt out is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.errors import InvalidRequest
from worker.study.folds import Codes, Fold, Patients, patient_folds

SEEDS = st.integers(0, 2**32 - 1)


def same(first: tuple[Fold, ...], second: tuple[Fold, ...]) -> bool:
    parts = ("train", "validation", "test")
    return all(
        np.array_equal(getattr(one, part), getattr(other, part))
        for one, other in zip(first, second, strict=True)
        for part in parts
    )


def dealt(codes: Codes, patients: Patients, folds: int, seed: int) -> tuple[Fold, ...] | InvalidRequest:
    try:
        return patient_folds(codes, patients, folds=folds, seed=seed)
    except InvalidRequest as refused:
        return refused


def drawn(seed: int, images: int, patients: int, classes: int) -> tuple[Codes, Patients]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, classes, images), generator.integers(0, patients, images) * 7 + 3


@settings(max_examples=100)
@given(
    seed=SEEDS,
    images=st.integers(1, 120),
    patients=st.integers(1, 60),
    classes=st.integers(1, 4),
    folds=st.integers(2, 8),
)
def test_folds_are_sound_or_refused(seed: int, images: int, patients: int, classes: int, folds: int) -> None:
    codes, whose = drawn(seed, images, patients, classes)
    found = dealt(codes, whose, folds, seed)
    if isinstance(found, InvalidRequest):
        assert found.errors[0].pointer == "#/folds"
        assert "ask for" in found.detail
        return
    assert len(found) == folds
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in found])), np.arange(images))
    assert np.array_equal(np.sort(np.concatenate([fold.validation for fold in found])), np.arange(images))
    for fold in found:
        parts = (fold.train, fold.validation, fold.test)
        assert all(part.dtype == np.int64 and len(part) and (np.diff(part) > 0).all() for part in parts)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(images))
        sides = [np.unique(whose[part]) for part in parts]
        assert len(np.unique(np.concatenate(sides))) == sum(map(len, sides))
        assert set(codes[fold.train].tolist()) == set(codes.tolist())
    assert same(found, patient_folds(codes, whose, folds=folds, seed=seed))


@pytest.mark.parametrize("folds", [3, 5])
def test_parts_are_alike_where_each_image_is_of_another_patient(folds: int) -> None:
    codes = np.repeat([0, 1, 2], [300, 90, 30])
    for fold in patient_folds(codes, np.random.default_rng(0).permutation(420), folds=folds, seed=0):
        for part in (fold.test, fold.validation):
            counts = np.bincount(codes[part])
            assert np.abs(counts - np.array([300, 90, 30]) / folds).max() < 1


def test_parts_are_nearly_alike_where_patients_differ() -> None:
    generator = np.random.default_rng(1)
    whose = np.repeat(np.arange(200), generator.integers(1, 9, 200))
    codes = (generator.random(200) < 0.3).astype(np.int64)[whose]
    for fold in patient_folds(codes, whose, folds=5, seed=0):
        assert len(fold.test) == pytest.approx(len(codes) / 5, rel=0.05)
        assert codes[fold.test].mean() == pytest.approx(codes.mean(), rel=0.1)


def test_another_seed_deals_otherwise_and_names_of_patients_do_not_matter() -> None:
    codes, whose = drawn(2, 100, 50, 2)
    found = patient_folds(codes, whose, folds=4, seed=0)
    assert not same(found, patient_folds(codes, whose, folds=4, seed=1))
    assert same(found, patient_folds(codes, whose * 1000 + 5, folds=4, seed=0))


def test_a_golden_deal() -> None:
    codes, whose = drawn(2018, 20, 9, 2)
    found = patient_folds(codes, whose, folds=3, seed=7)
    assert [fold.test.tolist() for fold in found] == [
        [0, 3, 6, 10, 12, 17, 18],
        [1, 2, 7, 11, 16],
        [4, 5, 8, 9, 13, 14, 15, 19],
    ]
    for fold, following in zip(found, (*found[1:], found[0]), strict=True):
        assert np.array_equal(fold.validation, following.test)


def test_a_rare_class_is_in_every_train_part() -> None:
    codes = np.zeros(60, np.int64)
    codes[:3] = 1
    for fold in patient_folds(codes, np.arange(60), folds=5, seed=0):
        assert 1 in codes[fold.train]


@pytest.mark.parametrize(
    ("codes", "patients", "folds", "sentence"),
    [
        ([0, 1] * 10, list(range(20)), 2, "2 folds leave nothing to learn from .* ask for more folds"),
        ([0, 1] * 10, [0, 1, 2, 3] * 5, 5, "5 folds need as many patients, and there are 4: ask for fewer folds"),
        ([0, 1, 2, 3], [0, 1, 2, 3], 3, "a class of as many images, and the largest has 1: ask for fewer folds"),
        ([0] * 18 + [1, 1], [*range(18), 18, 18], 4, "A class of 2 images, those of 1 patients, has none"),
        ([1, 0, 0, 0, 0, 2, 1, 2, 1, 1, 2, 0, 0], [0] * 4 + [1] + [2] * 3 + [3] * 5, 4, "too unequal for 4 folds"),
        ([], [], 3, "there are 0"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused_with_what_to_do(
    codes: list[int], patients: list[int], folds: int, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        patient_folds(np.array(codes, np.int64), np.array(patients, np.int64), folds=folds, seed=5980)


def test_each_image_has_one_patient() -> None:
    with pytest.raises(ValueError, match=r"\(6,\) and patients of \(5,\)"):
        patient_folds(np.zeros(6, np.int64), np.arange(5), folds=3, seed=0)
