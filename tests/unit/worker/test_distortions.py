"""What each distortion does to an image, against its definition."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

from worker.distortions import BLURS, DISTORTIONS, GAMMAS, GRAINS, ROTATIONS, SHIFTS, distorted

SIDE = 29
"""Odd, so that there is a pixel in the middle."""


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).uniform(0, 255, (3, SIDE, SIDE))
    return np.rint(ndimage.gaussian_filter(noise, 2, axes=(1, 2))).astype(np.uint8)


def under(images: NDArray[np.uint8], place: int) -> NDArray[np.uint8]:
    changed, places = distorted(images, seed=0)
    return changed[places == place]


def test_every_image_is_seen_under_every_distortion(images) -> None:
    changed, places = distorted(images, seed=0)
    assert (changed.shape, changed.dtype) == ((3 * len(DISTORTIONS), SIDE, SIDE), np.uint8)
    np.testing.assert_array_equal(np.bincount(places), np.full(len(DISTORTIONS), 3))
    np.testing.assert_array_equal(under(images, 0), images)
    assert len(np.unique(changed, axis=0)) == len(changed)


def test_the_seed_draws_the_grain(images) -> None:
    first, again, other = (distorted(images, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_sharpness_grain_and_grey_values_change_as_they_say(images) -> None:
    np.testing.assert_array_equal(
        under(images, 1)[1], np.rint(ndimage.gaussian_filter(images[1].astype(float), BLURS[0]))
    )
    grain = under(images, 1 + len(BLURS)).astype(float) - images
    assert grain.std() == pytest.approx(GRAINS[0], rel=0.1)
    expected = np.rint(255 * (images / 255) ** GAMMAS[0])
    np.testing.assert_array_equal(under(images, 1 + len(BLURS) + len(GRAINS)), expected)


def test_moves_leave_the_middle_in_place_or_carry_it_along() -> None:
    dot = np.zeros((1, SIDE, SIDE), np.uint8)
    middle = SIDE // 2
    dot[0, middle - 2 : middle + 3, middle - 2 : middle + 3] = 200
    first = 1 + len(BLURS) + len(GRAINS) + len(GAMMAS)
    still = range(first, first + len(ROTATIONS) + 2)
    for place in still:
        assert ndimage.center_of_mass(under(dot, place)[0]) == pytest.approx((middle, middle), abs=0.05)
    moved = [ndimage.center_of_mass(under(dot, place)[0]) for place in range(still.stop, len(DISTORTIONS))]
    far = [SIDE * share for share in SHIFTS]
    expected = [
        (middle + far[0], middle),
        (middle + far[1], middle),
        (middle, middle + far[0]),
        (middle, middle + far[1]),
    ]
    np.testing.assert_allclose(moved, expected, atol=0.05)
