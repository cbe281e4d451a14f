"""The floor compares disjoint halves, the same ones for one seed, and tells how many images they have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.contract.errors import InvalidRequest
from worker.metrics.floor import floor
from worker.metrics.frechet_distance import frechet_distance

SEEDS = st.integers(0, 2**32 - 1)
Rows = NDArray[np.int64]


def both(first: Rows, second: Rows) -> tuple[list[int], list[int]]:
    """A metric that tells what it was given."""
    return first.tolist(), second.tolist()


@given(count=st.integers(2, 60), seed=SEEDS, images=st.none() | st.integers(1, 40))
def test_halves_are_disjoint_and_as_large_as_asked_for(count: int, seed: int, images: int | None) -> None:
    found = floor(np.arange(count), both, seed=seed, images=images)
    first, second = found.result
    assert len(first) == len(second) == found.images == min(images or count, count // 2)
    assert len({*first, *second}) == 2 * found.images
    assert found == floor(np.arange(count), both, seed=seed, images=images)


def test_seeds_differ_and_every_image_may_fall_in_either_half() -> None:
    halves = [set(floor(np.arange(20), both, seed=seed).result[0]) for seed in range(50)]
    assert len({frozenset(half) for half in halves}) > 40
    assert all(any(row in half for half in halves) and any(row not in half for half in halves) for row in range(20))


def test_images_are_split_as_features_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4)).astype(np.uint8)
    shapes = floor(images, lambda first, second: (first.shape, second.shape), seed=0).result
    assert shapes == ((5, 4, 4), (5, 4, 4))


def test_the_floor_falls_as_images_grow_in_number() -> None:
    features = np.random.default_rng(0).normal(size=(2000, 16))
    few, many = (floor(features, frechet_distance, seed=0, images=images) for images in (100, 1000))
    assert (few.images, many.images) == (100, 1000)
    assert few.result.distance > 5 * many.result.distance > 0


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_has_no_halves(count: int) -> None:
    with pytest.raises(InvalidRequest, match=f"There are {count} reference images, and two halves need 2 or more"):
        floor(np.arange(count), both, seed=0)


def test_halves_that_are_too_small_for_the_metric_are_refused_by_it() -> None:
    with pytest.raises(InvalidRequest, match="needs 2 or more"):
        floor(np.zeros((3, 4)), frechet_distance, seed=0)
