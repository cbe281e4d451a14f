"""Distances of grey levels against scipy on the pixels themselves, and shifts whose distance is known."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon  # type: ignore[import-untyped]  # it ships no types
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

from worker.metrics.intensity_histogram import (
    GREY_LEVELS,
    IntensityDistance,
    _jensen_shannon_distance,
    intensity_distance,
    intensity_histogram,
)

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(4), st.just(4)))
RANDOM = np.random.default_rng(0).integers(0, 200, (6, 16, 16), np.uint8)


def shares(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.bincount(images.ravel(), minlength=GREY_LEVELS) / images.size


@given(images=IMAGES)
def test_a_histogram_counts_every_pixel(images: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(intensity_histogram(images), shares(images) * images.size)


@given(real=IMAGES, synthetic=IMAGES)
def test_distances_are_those_of_the_pixels(real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> None:
    distance = intensity_distance(real, synthetic)
    levels = [images.ravel().astype(np.float64) for images in (real, synthetic)]
    assert distance.wasserstein == pytest.approx(wasserstein_distance(*levels), abs=1e-9)
    assert distance.jensen_shannon == pytest.approx(jensenshannon(shares(real), shares(synthetic), base=2), abs=1e-7)
    assert 0 <= distance.wasserstein <= 255
    assert 0 <= distance.jensen_shannon <= 1 + 1e-12
    back = intensity_distance(synthetic, real)
    assert back.wasserstein == pytest.approx(distance.wasserstein)
    assert back.jensen_shannon == pytest.approx(distance.jensen_shannon, abs=1e-7)


def test_a_set_is_at_no_distance_from_itself_in_any_order_and_number() -> None:
    assert intensity_distance(RANDOM, RANDOM) == IntensityDistance(wasserstein=0, jensen_shannon=0)
    shuffled = np.random.default_rng(1).permuted(np.concatenate([RANDOM, RANDOM]).ravel()).reshape(12, 16, 16)
    assert intensity_distance(RANDOM, shuffled) == IntensityDistance(wasserstein=0, jensen_shannon=0)


@pytest.mark.parametrize("shift", [1, 7, 55])
def test_a_shift_of_brightness_is_its_own_distance(shift: int) -> None:
    assert intensity_distance(RANDOM, RANDOM + np.uint8(shift)).wasserstein == pytest.approx(shift)


def test_black_and_white_are_as_far_apart_as_can_be() -> None:
    black, white = np.zeros((2, 8, 8), np.uint8), np.full((3, 8, 8), 255, np.uint8)
    assert intensity_distance(black, white) == IntensityDistance(wasserstein=255, jensen_shannon=1)


def test_gaps_in_a_histogram_show_in_the_one_and_hardly_in_the_other() -> None:
    distance = intensity_distance(RANDOM, RANDOM // 2 * 2)
    assert distance.wasserstein < 1
    assert distance.jensen_shannon > 0.5


def test_nearly_equal_histograms_of_a_billion_pixels_have_a_distance() -> None:
    half = np.array([500_000_000, 500_000_000])
    assert _jensen_shannon_distance(half, np.array([500_000_001, 499_999_999])) == pytest.approx(0, abs=1e-7)


def test_golden_numbers() -> None:
    distance = asdict(intensity_distance(RANDOM[:3], RANDOM[3:] // 2))
    assert distance == pytest.approx({"wasserstein": 47.54166666666667, "jensen_shannon": 0.5983905939931412}, rel=1e-9)


def test_a_set_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="has no grey levels"):
        intensity_distance(RANDOM, RANDOM[:0])
