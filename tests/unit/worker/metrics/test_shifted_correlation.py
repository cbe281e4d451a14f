"""Nearest images against correlations window by window, and the search in two stages against the exhaustive one."""

import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types
from scipy.stats import pearsonr  # type: ignore[import-untyped]

from worker.metrics.shifted_correlation import (
    BLOCK_BYTES,
    REFERENCE_BYTES,
    SHIFT,
    SMALLEST_SIDE,
    SMOOTHING,
    nearest_images,
)
from worker.sources.phantom import Phantom
from worker.sources.pixels import fit_square

QUERIES = 40
REFERENCES = 200
SIDE = 24
SHIFTS = st.integers(-SHIFT, SHIFT)


def clouds(count: int, side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures of blurred noise, over the whole range of greys."""
    noise = np.random.default_rng(seed).standard_normal((count, side, side))
    soft = ndimage.gaussian_filter(noise, 2.0, axes=(1, 2))
    low, high = soft.min(axis=(1, 2), keepdims=True), soft.max(axis=(1, 2), keepdims=True)
    return np.asarray(255 * (soft - low) / (high - low)).astype(np.uint8)


@cache
def radiographs() -> NDArray[np.uint8]:
    source = Phantom()
    rows = np.unique(source.table.patients, return_index=True)[1][: QUERIES + REFERENCES]
    return np.stack([fit_square(source.image(row).read(), 64, "pad") for row in rows.tolist()])


def correlation(query: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """The score, window by window."""
    side = len(query) - 2 * SHIFT
    middle = ndimage.gaussian_filter(reference[SHIFT:-SHIFT, SHIFT:-SHIFT].astype(float), SMOOTHING)
    windows = (
        image[down : down + side, right : right + side].astype(float)
        for image in (query, query[:, ::-1])
        for down, right in np.ndindex(2 * SHIFT + 1, 2 * SHIFT + 1)
    )
    return max(
        float(pearsonr(ndimage.gaussian_filter(window, SMOOTHING).ravel(), middle.ravel()).statistic)
        for window in windows
    )


def test_scores_are_the_best_correlations_of_windows() -> None:
    queries, reference = clouds(6), clouds(9, seed=1)
    oracle = np.array([[correlation(query, other) for other in reference] for query in queries])
    nearest = nearest_images(queries, reference)
    np.testing.assert_allclose(nearest.correlations, oracle.max(axis=1), atol=1e-9)
    np.testing.assert_array_equal(nearest.indices, oracle.argmax(axis=1))


@given(down=SHIFTS, right=SHIFTS, mirrored=st.booleans(), gain=st.floats(0.2, 1), lift=st.integers(0, 50))
def test_shift_mirroring_brightness_and_contrast_do_not_matter(
    down: int, right: int, mirrored: bool, gain: float, lift: int
) -> None:
    wide = clouds(8, SIDE + 2 * SHIFT, seed=2)
    reference = np.ascontiguousarray(wide[:, SHIFT:-SHIFT, SHIFT:-SHIFT])
    query = wide[5, SHIFT + down :, SHIFT + right :][:SIDE, :SIDE]
    query = (0.8 * gain * query + lift).astype(np.uint8)
    nearest = nearest_images((query[:, ::-1] if mirrored else query)[np.newaxis], reference)
    assert nearest.indices[0] == 5
    assert nearest.correlations[0] > 0.999  # not 1, since grey levels are whole numbers


def test_a_larger_shift_matters() -> None:
    wide = clouds(1, SIDE + 8, seed=3)
    reference = wide[:, 4:-4, 4:-4]
    scores = [nearest_images(wide[:, 4 + shift :][:, :SIDE, 4:-4], reference).correlations[0] for shift in range(5)]
    np.testing.assert_allclose(scores[: SHIFT + 1], 1)
    assert 0.98 > scores[3] > scores[4]


def test_an_inverted_image_is_as_unlike_as_can_be() -> None:
    ramp = np.broadcast_to(np.arange(0, 10 * SIDE, 10, dtype=np.uint8)[:, np.newaxis], (SIDE, SIDE))[np.newaxis]
    np.testing.assert_allclose(nearest_images(255 - ramp, ramp).correlations, -1, atol=0.05)


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
def test_a_blank_image_is_like_none(grey: int) -> None:
    blank = np.full((1, SIDE, SIDE), grey, np.uint8)
    assert nearest_images(blank, clouds(3)).correlations.tolist() == [0]
    among = np.concatenate([blank, clouds(3)])
    assert nearest_images(clouds(3), among).indices.tolist() == [1, 2, 3]


def test_each_finds_itself_or_another_one() -> None:
    images = np.concatenate([clouds(20), clouds(1, seed=9)])
    itself = nearest_images(images, images)
    assert itself.indices.tolist() == list(range(21))
    np.testing.assert_allclose(itself.correlations, 1)
    for candidates in (3, len(images)):
        another = nearest_images(images, images, leave_own_out=True, candidates=candidates)
        for index, (found, score) in enumerate(zip(another.indices, another.correlations, strict=True)):
            rest = np.delete(images, index, axis=0)
            expected = nearest_images(images[[index]], rest)
            assert found == np.delete(np.arange(21), index)[expected.indices[0]]
            assert score == pytest.approx(expected.correlations[0])


def test_of_equal_images_the_first_is_found() -> None:
    images = clouds(4)
    assert nearest_images(images, np.concatenate([images, images])).indices.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("side", [SMALLEST_SIDE, 11, 16, 17, 40])
def test_any_size_is_searched(side: int) -> None:
    noise = np.random.default_rng(side).integers(0, 256, (50, side, side), np.uint8)
    assert nearest_images(noise, noise, candidates=2).indices.tolist() == list(range(50))


def test_two_stages_find_what_the_exhaustive_search_finds() -> None:
    queries, reference = radiographs()[:QUERIES], radiographs()[QUERIES:]
    exhaustive = nearest_images(queries, reference, candidates=REFERENCES)
    staged = nearest_images(queries, reference)
    np.testing.assert_array_equal(staged.indices, exhaustive.indices)
    np.testing.assert_allclose(staged.correlations, exhaustive.correlations)


def test_two_stages_find_it_among_real_radiographs(shared_data: Path) -> None:
    path = shared_data / "pneumoniamnist.npz"
    if not path.is_file():
        pytest.skip("needs the real radiographs in ../shared/data/pneumoniamnist.npz")
    with np.load(path) as archive:
        queries, reference = archive["val_images"][:25], archive["train_images"]
    exhaustive = nearest_images(queries, reference, candidates=len(reference))
    np.testing.assert_array_equal(nearest_images(queries, reference).indices, exhaustive.indices)


def test_golden() -> None:
    images = radiographs()[:8]
    nearest = nearest_images(images[:4], images[4:])
    assert nearest.indices.tolist() == [3, 1, 0, 1]
    np.testing.assert_allclose(nearest.correlations, [0.878868, 0.902615, 0.917692, 0.897636], atol=1e-5)


@pytest.mark.parametrize(("side", "count"), [(28, 3000), (64, 1000), (128, 100)])
def test_memory_is_bounded_by_blocks_and_grows_by_less_than_the_images(side: int, count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)

    def peak(reference: NDArray[np.uint8]) -> int:
        tracemalloc.start()
        try:
            nearest_images(images[:20], reference)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    whole, half = peak(images), peak(images[: count // 2])
    assert whole < BLOCK_BYTES + count * REFERENCE_BYTES
    assert whole - half < BLOCK_BYTES / 20 + count / 2 * REFERENCE_BYTES


def test_images_may_lie_on_the_disk(tmp_path: Path) -> None:
    images = clouds(40)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert nearest_images(images[7:9], mapped).indices.tolist() == [7, 8]


def test_some_rows_are_searched_as_if_they_were_all_and_found_where_they_are() -> None:
    images, queries = clouds(60), clouds(5, seed=1)
    rows = np.arange(3, 60, 2)
    among_rows, alone = nearest_images(queries, images, rows=rows), nearest_images(queries, images[rows])
    assert among_rows.indices.tolist() == rows[alone.indices].tolist()
    np.testing.assert_array_equal(among_rows.correlations, alone.correlations)
    others = nearest_images(images[rows], images, rows=rows, leave_own_out=True)
    assert not set(others.indices.tolist()) - set(rows.tolist())
    assert (others.indices != rows).all()


class CountedReads:
    """An array on the disk that knows of how many images the largest read was."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images, self.shape, self.largest = images, images.shape, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.largest = max(self.largest, len(rows))
        return self.images[rows]


def test_no_more_than_a_block_of_the_searched_rows_is_read_at_once() -> None:
    counted = CountedReads(clouds(200))
    nearest_images(clouds(3), counted, rows=np.arange(0, 200, 2))  # type: ignore[arg-type]  # all that is asked of it
    assert counted.largest == 32


def test_every_block_is_told_and_may_end_the_search() -> None:
    told: list[tuple[int, int]] = []
    nearest_images(clouds(40), clouds(20), on_block=lambda done, blocks: told.append((done, blocks)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        nearest_images(clouds(40), clouds(20), on_block=stop)


@pytest.mark.parametrize(
    ("queries", "reference", "leave_own_out", "sentence"),
    [
        ((2, 8, 8), (2, 9, 9), False, "squares of one size"),
        ((2, 8, 9), (2, 8, 9), False, "squares of one size"),
        ((2, 5, 5), (2, 5, 5), False, "6 pixels or more"),
        ((2, 8, 8), (0, 8, 8), False, "no image to be the nearest"),
        ((1, 8, 8), (1, 8, 8), True, "no image to be the nearest"),
        ((1, 8, 8), (2, 8, 8), True, "cannot be the same"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    queries: tuple[int, ...], reference: tuple[int, ...], leave_own_out: bool, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        nearest_images(np.zeros(queries, np.uint8), np.zeros(reference, np.uint8), leave_own_out=leave_own_out)
