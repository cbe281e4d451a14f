"""The phantom has all that ChestX-ray14 has, and its pictures show what its metadata says."""

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

from worker.contract.requests import DatasetRequest
from worker.selection import STEPS, preview
from worker.sources.phantom import ROWS, Phantom
from worker.sources.radiograph import Radiograph
from worker.sources.shadows import SIZE

PATIENTS = 16
"""Few enough to draw at once, many enough that what they share is not chance."""


def drawn(number: int, *, view: str = "PA", sex: str = "M", age: int = 50, **shown: Any) -> NDArray[np.uint8]:
    return np.asarray(
        Radiograph(
            patient=(1, number),
            exposure=(2, number),
            age=age,
            sex=sex,
            view=view,
            findings=shown.get("findings", ("No Finding",)),
            flags=shown.get("flags", ()),
        )
        .read()
        .pixels
    )


@cache
def mean_picture(view: str = "PA", sex: str = "M", age: int = 50, finding: str = "No Finding") -> NDArray[np.float64]:
    pictures = [drawn(number, view=view, sex=sex, age=age, findings=(finding,)) for number in range(PATIENTS)]
    return np.asarray(np.mean(pictures, axis=0))


def test_every_filter_has_something_to_bite_on() -> None:
    table = Phantom().table
    assert len(table) == len(set(table.files)) == ROWS
    assert table.present.all()
    counts = table.counts()
    assert min(counts["label"].values()) > 300
    assert min(counts["view"].values()) > 1000
    assert min(counts["sex"].values()) > 1000
    assert min(counts["flag"].values()) == 20
    assert {"0-9", "80-89", "impossible"} <= set(counts["age_decade"])
    images = np.unique(table.patients, return_counts=True)[1]
    assert images.max() > 5
    assert (images > 1).mean() > 0.4
    for patient in np.unique(table.patients)[:50]:
        assert len(set(table.sexes[table.patients == patient])) == 1
    assert sum(len(table.labels_in(bits)) == 2 for bits in table.labels.tolist()) > 100


def test_no_finding_stands_alone() -> None:
    table = Phantom().table
    for bits in set(table.labels.tolist()):
        labels = table.labels_in(bits)
        assert labels == ("No Finding",) or (labels and "No Finding" not in labels)


def test_a_typical_selection_leaves_enough_to_train_on() -> None:
    where = {"labels": ["No Finding"], "view": ["PA"], "age": {"min": 20, "max": 70}}
    result = preview(Phantom(), DatasetRequest(source="phantom", where=where, limit=1000))
    assert result.images == 1000
    assert {step.step for step in result.attrition if step.removed} == set(STEPS) - {"sex", "file absent"}


def test_a_picture_depends_on_its_row_alone() -> None:
    source = Phantom()
    backwards = {row: source.image(row).read().pixels for row in (399, 12, 0)}
    again = Phantom()
    for row in (0, 12, 399):
        handle = again.image(row)
        assert len(pickle.dumps(handle)) < 500
        picture = pickle.loads(pickle.dumps(handle)).read()  # noqa: S301 - our own, as a process pool sends it
        assert (picture.pixels.shape, picture.pixels.dtype, picture.colour) == ((SIZE, SIZE), np.uint8, False)
        np.testing.assert_array_equal(picture.pixels, backwards[row])
    assert not np.array_equal(backwards[0], backwards[12])


def test_rows_with_an_impossible_age_have_pictures_too() -> None:
    source = Phantom()
    row = int(np.flatnonzero(source.table.impossible_ages)[0])
    assert source.image(row).read().pixels.std() > 20


def test_lungs_are_darker_than_what_is_between_and_below_them() -> None:
    picture = mean_picture()
    right_lung, left_lung = picture[90:150, 50:80], picture[60:110, 180:205]
    middle, belly = picture[90:220, 124:132], picture[225:, 60:200]
    assert max(right_lung.mean(), left_lung.mean()) + 50 < min(middle.mean(), belly.mean())


def test_the_heart_lies_to_the_patients_left() -> None:
    rows = mean_picture()[140:170]
    assert rows[:, 128:185].mean() > rows[:, 71:128].mean() + 20


def test_in_bed_the_heart_is_larger_and_the_diaphragm_higher() -> None:
    def dark(picture: NDArray[np.float64]) -> int:
        return int(np.count_nonzero(picture[40:, 30:226] < 130))

    assert dark(mean_picture("AP")) < 0.88 * dark(mean_picture("PA"))


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_findings_whiten_what_they_should(view: str) -> None:
    clear = mean_picture(view)
    heart_border = slice(100, 160), slice(170, 205)
    bases = slice(150, 185), slice(35, 220)
    fields = slice(60, 150), slice(45, 215)
    for finding, (down, across) in (("Cardiomegaly", heart_border), ("Effusion", bases), ("Infiltration", fields)):
        affected = mean_picture(view, finding=finding)
        assert affected[down, across].mean() > clear[down, across].mean() + 4, finding


def test_a_nodule_is_a_bright_spot_in_a_dark_lung() -> None:
    def brightest_spot(picture: NDArray[np.uint8]) -> float:
        """Of the size of a nodule, against what is around it, anywhere in the outer lungs."""
        grey = picture.astype(np.float64)
        contrast = ndimage.uniform_filter(grey, 9) - ndimage.uniform_filter(grey, 33)
        return float(max(contrast[70:140, 60:85].max(), contrast[60:110, 175:195].max()))

    plain = np.mean([brightest_spot(drawn(number)) for number in range(PATIENTS)])
    nodular = np.mean([brightest_spot(drawn(number, findings=("Nodule",))) for number in range(PATIENTS)])
    assert nodular > 2 * plain


def test_women_and_children_differ_from_men() -> None:
    breasts = slice(160, 185), slice(60, 80)
    assert mean_picture(sex="F")[breasts].mean() > mean_picture(sex="M")[breasts].mean()
    dark_edges = [np.count_nonzero(mean_picture(age=age)[120:, :] < 40) for age in (5, 50)]
    assert dark_edges[0] > 2 * dark_edges[1]


def test_outliers_are_what_the_list_says() -> None:
    for number in range(4):
        upright = drawn(number)
        np.testing.assert_array_equal(drawn(number, flags=("inverted",)), 255 - upright)
        turned = drawn(number, flags=("rotated",))
        assert any(np.array_equal(turned, np.rot90(upright, quarter)) for quarter in (1, 2, 3))
    aside = np.mean([drawn(number, flags=("not_frontal",)) for number in range(PATIENTS)], axis=0)
    assert np.abs(aside - mean_picture()).mean() > 25
