"""Selections against a filter written out row by row, splits for any table, and the known answers of the real one."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worker.contract.errors import InvalidRequest, NoUsableImages
from worker.contract.requests import DatasetRequest, Split, Where
from worker.selection import STEPS, assign_split, preview, select, thumbnails
from worker.sources.base import IMPOSSIBLE_AGE, OUTLIER_FLAGS, SPLITS, UNKNOWN_AGE, SourceTable
from worker.sources.nih_cxr14 import NihCxr14

LABELS, VIEWS, SEXES = ("Effusion", "No Finding", "Nodule"), ("AP", "PA"), ("F", "M")
AGES = (UNKNOWN_AGE, IMPOSSIBLE_AGE, 0, 19, 20, 45, 70, 71, 120, 121, 414)
SEEDS = st.integers(0, 2**32 - 1)


def table_of(rows: list[tuple[Any, ...]]) -> SourceTable:
    """A table of (patient, labels, view, sex, age, flags, present), the sets and codes as numbers."""
    columns = list(zip(*rows, strict=True)) or [()] * 7
    return SourceTable(
        files=[f"{row}.png" for row in range(len(rows))],
        patients=np.array(columns[0], np.int64),
        labels=np.array(columns[1], np.uint64),
        views=np.array(columns[2], np.uint8),
        sexes=np.array(columns[3], np.uint8),
        ages=np.array(columns[4], np.int16),
        flags=np.array(columns[5], np.uint8),
        present=np.array(columns[6], np.bool_),
        label_names=LABELS,
        view_names=VIEWS,
        sex_names=SEXES,
        flag_names=OUTLIER_FLAGS,
    )


ROWS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(0, 7),
        st.integers(0, 1),
        st.integers(0, 1),
        st.sampled_from(AGES),
        st.sampled_from((0, 0, 0, 1, 2, 4, 5)),
        st.booleans(),
    ),
    max_size=40,
)
SPLIT = st.tuples(st.integers(1, 10), st.integers(0, 10), st.integers(0, 10)).map(
    lambda parts: Split(**{name: part / sum(parts) for name, part in zip(SPLITS, parts, strict=True)})
)
AGE_RANGES = st.sampled_from([(None, None), (20, 70), (None, 70), (0, None), (71, 120)])
REQUESTS = st.builds(
    lambda ages, limit, split, seed, exclude, **where: DatasetRequest(
        source="any",
        where=Where(age={"min": ages[0], "max": ages[1]}, **where),
        limit=limit,
        split=split,
        seed=seed,
        exclude=exclude,
    ),
    ages=AGE_RANGES,
    limit=st.none() | st.integers(1, 30),
    split=SPLIT,
    seed=SEEDS,
    exclude=st.lists(st.sampled_from((*OUTLIER_FLAGS, "blank")), unique=True),
    labels=st.lists(st.sampled_from(LABELS), unique=True),
    label_match=st.sampled_from(("exact", "any", "all")),
    view=st.lists(st.sampled_from(VIEWS), unique=True),
    sex=st.lists(st.sampled_from(SEXES), unique=True),
)


def taken_by(row: tuple[Any, ...], request: DatasetRequest) -> str:
    """The first step that a row does not pass, written down as API.md says it; empty if it passes all."""
    _, labels, view, sex, age, flags, present = row
    where = request.where
    found, wanted = {name for bit, name in enumerate(LABELS) if labels >> bit & 1}, set(where.labels)
    matches = {"exact": found == wanted, "any": bool(found & wanted), "all": wanted <= found}
    low, high = where.age.min, where.age.max
    in_range = age != UNKNOWN_AGE and (low is None or age >= low) and (high is None or age <= high)
    steps = {
        "impossible age": age == UNKNOWN_AGE or 0 <= age <= 120,
        "labels": not wanted or matches[where.label_match],
        "view": not where.view or VIEWS[view] in where.view,
        "sex": not where.sex or SEXES[sex] in where.sex,
        "age": (low is None and high is None) or in_range,
        "flags": not any(flags >> bit & 1 and name in request.exclude for bit, name in enumerate(OUTLIER_FLAGS)),
        "file absent": present,
    }
    return next((step for step, passes in steps.items() if not passes), "")


@given(rows=ROWS, request=REQUESTS)
def test_each_step_takes_what_it_says(rows: list[tuple[Any, ...]], request: DatasetRequest) -> None:
    selection = select(table_of(rows), request)
    expected = [taken_by(row, request) for row in rows]
    passed = [row for row, step in enumerate(expected) if not step]
    kept = selection.rows.tolist()
    assert kept == sorted(kept)
    assert set(kept) <= set(passed)
    assert len(kept) == min(len(passed), request.limit or len(passed))
    for row, step in enumerate(expected):
        assert selection.reason(row) == (step or ("" if row in kept else "limit"))

    assert [step.step for step in selection.attrition] == ["all rows", *STEPS]
    left = len(rows)
    for box in selection.attrition:
        left -= box.removed
        assert box.left == left
        assert box.removed == sum(selection.reason(row) == box.step for row in range(len(rows)))
    assert left == len(kept)


@given(rows=ROWS, request=REQUESTS)
def test_no_patient_is_on_two_sides_and_someone_trains(rows: list[tuple[Any, ...]], request: DatasetRequest) -> None:
    selection = select(table_of(rows), request)
    side_of: dict[int, int] = {}
    for row, side in zip(selection.rows.tolist(), selection.split.tolist(), strict=True):
        assert side_of.setdefault(rows[row][0], side) == side
    if side_of:
        assert SPLITS.index("train") in side_of.values()


@given(images=st.lists(st.integers(1, 6), min_size=1, max_size=60), split=SPLIT, seed=SEEDS, shuffle=st.randoms())
def test_parts_are_as_large_as_asked_for_and_do_not_hang_on_the_order_of_rows(
    images: list[int], split: Split, seed: int, shuffle: Any
) -> None:
    patients = [patient for patient, count in enumerate(images) for _ in range(count)]
    sides = assign_split(np.array(patients), split, seed)
    shuffled = patients.copy()
    shuffle.shuffle(shuffled)
    again = assign_split(np.array(shuffled), split, seed)
    assert dict(zip(patients, sides.tolist(), strict=True)) == dict(zip(shuffled, again.tolist(), strict=True))

    largest = max(images)
    for name, fraction in (("train", split.train), ("validation", split.validation), ("test", split.test)):
        part = int(np.count_nonzero(sides == SPLITS.index(name)))
        assert abs(part - fraction * len(patients)) <= 2 * largest


def test_seeds_differ_and_a_seed_does_not() -> None:
    patients = np.arange(1000)
    first = assign_split(patients, Split(), 0)
    np.testing.assert_array_equal(first, assign_split(patients, Split(), 0))
    assert np.count_nonzero(first != assign_split(patients, Split(), 1)) > 100
    assert np.bincount(first).tolist() == [800, 100, 100]


@given(rows=ROWS, low=st.integers(1, 20), more=st.integers(0, 20), seed=SEEDS)
def test_a_higher_limit_adds_to_the_sample_of_a_lower_one(
    rows: list[tuple[Any, ...]], low: int, more: int, seed: int
) -> None:
    table = table_of(rows)
    fewer, larger = (
        select(table, DatasetRequest(source="any", exclude=(), limit=limit, seed=seed)) for limit in (low, low + more)
    )
    assert set(fewer.rows.tolist()) <= set(larger.rows.tolist())


def test_whom_a_limit_draws_says_nothing_of_who_trains() -> None:
    table = table_of([(row, 1, 0, 0, 50, 0, True) for row in range(4000)])
    split = assign_split(table.patients, Split(), 0)
    drawn = select(table, DatasetRequest(source="any", limit=1000)).rows
    assert 0.75 < np.mean(split[drawn] == SPLITS.index("train")) < 0.85


def test_counts_leave_out_what_nobody_has(nih_folder: Callable[..., Path]) -> None:
    source = NihCxr14.open(nih_folder("small", 24))
    result = preview(source, DatasetRequest(source="small", where=Where(labels=("Infiltration",), label_match="any")))
    assert result.images == 12
    assert result.counts.label == {"Effusion": 6, "Infiltration": 12}
    assert (
        sum(result.counts.sex.values()) == sum(result.counts.view.values()) == sum(result.counts.split.values()) == 12
    )
    assert sum(result.counts.age_decade.values()) == 12
    assert result.patients == len({index * 2 // 3 for index in range(24) if index % 4 in (1, 2)})
    assert (result.skipped, result.bytes, result.sha256) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "pointer", "sentence"),
    [
        (
            {"where": {"labels": ["Nodule", "effusoin"]}},
            "#/where/labels/1",
            "no label 'effusoin'. Did you mean 'Effusion'",
        ),
        ({"where": {"view": ["LATERAL"]}}, "#/where/view/0", "no view 'LATERAL'. There is AP, PA."),
        ({"where": {"sex": ["m"]}}, "#/where/sex/0", "no sex 'm'. Did you mean 'M'"),
        ({"exclude": ["rotated", "color"]}, "#/exclude/1", "no flag 'color'. Did you mean 'colour'"),
    ],
)
def test_a_name_that_there_is_not_is_pointed_at(change: dict[str, Any], pointer: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as raised:
        select(table_of([]), DatasetRequest(source="any", **change))
    assert [error.pointer for error in raised.value.errors] == [pointer]


def test_every_wrong_name_is_told_at_once() -> None:
    where = Where(labels=("Hernia",), view=("LL",))
    with pytest.raises(InvalidRequest) as raised:
        select(table_of([]), DatasetRequest(source="any", where=where, exclude=("sharp",)))
    assert [error.pointer for error in raised.value.errors] == ["#/where/labels/0", "#/where/view/0", "#/exclude/0"]


def test_thumbnails_show_what_a_filter_lets_through(nih_folder: Callable[..., Path]) -> None:
    folder = nih_folder("small", 24)
    (folder / "images" / "00000001_000.png").write_bytes(b"not a picture")
    source = NihCxr14.open(folder)
    infiltration = Where(labels=("Infiltration",))
    with Image.open(io.BytesIO(thumbnails(source, infiltration, 64))) as grid:
        assert grid.size == (5 * 96 + 4 * 2, 96)  # six match, one of them cannot be read
    assert thumbnails(source, Where(), 4, seed=1) == thumbnails(source, Where(), 4, seed=1)
    assert thumbnails(source, Where(), 4, seed=1) != thumbnails(source, Where(), 4, seed=2)
    with pytest.raises(NoUsableImages, match="No image of small matches"):
        thumbnails(source, Where(labels=("Nodule", "Infiltration")), 4)


@pytest.fixture(scope="module")
def chest_xray14(shared_data: Path) -> NihCxr14:
    return NihCxr14.open(shared_data / "nih-cxr14")


def left_after(source: NihCxr14, step: str, **where: Any) -> int:
    result = preview(source, DatasetRequest(source=source.id, where=Where(**where)))
    return next(each.left for each in result.attrition if each.step == step)


@pytest.mark.parametrize(
    ("label", "images"),
    [("Nodule", 2_705), ("Effusion", 3_955), ("Atelectasis", 4_215), ("Infiltration", 9_547), ("No Finding", 60_361)],
)
def test_known_counts_of_single_labels(chest_xray14: NihCxr14, label: str, images: int) -> None:
    assert left_after(chest_xray14, "age", labels=(label,)) == images


@pytest.mark.parametrize(
    ("label", "view", "images", "without_outliers"),
    [("Infiltration", "AP", 2_116, 2_110), ("No Finding", "PA", 19_024, 19_005)],
)
def test_known_counts_of_the_first_study(
    chest_xray14: NihCxr14, label: str, view: str, images: int, without_outliers: int
) -> None:
    group = {"labels": (label,), "view": (view,), "sex": ("M",), "age": {"min": 20, "max": 70}}
    assert left_after(chest_xray14, "age", **group) == images
    assert left_after(chest_xray14, "flags", **group) == without_outliers


def test_known_count_of_the_small_set(shared_data: Path) -> None:
    source = NihCxr14.open(shared_data / "nih-cxr14-128")
    where = Where(labels=("No Finding",), view=("AP",), sex=("M",))
    assert preview(source, DatasetRequest(source="nih-cxr14-128", where=where)).images == 188
