"""Neighbours against the whole matrix of distances, which they never hold."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from worker.metrics import neighbours
from worker.metrics.features import Features
from worker.metrics.neighbours import balls_around, nearest_distances, neighbour_radii


def points(least: int) -> st.SearchStrategy[Features]:
    """Points of a small grid, so that there are equal ones and equal distances, without rounding."""
    coordinates = st.integers(-4, 4).map(float)
    return st.lists(st.tuples(coordinates, coordinates), min_size=least, max_size=30).map(np.array)


@given(features=points(4), k=st.integers(1, 3))
def test_a_radius_reaches_to_the_kth_other_point(features: Features, k: int) -> None:
    distances = cdist(features, features)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(neighbour_radii(features, k), np.sort(distances, axis=1)[:, k - 1], rtol=1e-12)


@given(features=points(1), among=points(1))
def test_the_nearest_one_is_at_the_least_distance(features: Features, among: Features) -> None:
    np.testing.assert_allclose(nearest_distances(features, among), cdist(features, among).min(axis=1), rtol=1e-12)


@given(features=points(1), centres=points(4))
def test_a_ball_holds_its_surface(features: Features, centres: Features) -> None:
    radii = neighbour_radii(centres, 3)
    within = cdist(features, centres) <= radii
    np.testing.assert_array_equal(balls_around(features, centres, radii), np.count_nonzero(within, axis=1))


def test_many_dimensions_far_from_the_origin() -> None:
    features, others = 10 + np.random.default_rng(0).normal(size=(2, 300, 200))
    distances = cdist(features, features)
    np.testing.assert_allclose(neighbour_radii(features, 5), np.sort(distances, axis=1)[:, 5], rtol=1e-9)
    np.testing.assert_allclose(nearest_distances(features, others), cdist(features, others).min(axis=1), rtol=1e-9)


def whole(features: Features, others: Features) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    radii = neighbour_radii(others, 5)
    return radii, nearest_distances(features, others), balls_around(features, others, radii)


def test_memory_is_bounded_and_its_bound_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, others = np.random.default_rng(1).normal(size=(2, 3000, 4))
    expected = whole(features, others)
    monkeypatch.setattr(neighbours, "BLOCK_MEBIBYTES", 1)
    tracemalloc.start()
    found = whole(features, others)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20 < features.shape[0] * others.shape[0] * 8
    for values, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, same, rtol=1e-12)
