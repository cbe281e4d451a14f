"""The distance against the paper's definition with loops, and changes of images that it must see or must not."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, signal  # type: ignore[import-untyped]  # it ships no types
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

from worker.metrics.sliced_wasserstein import (
    DIRECTIONS,
    PATCHES_PER_IMAGE,
    SlicedWassersteinDistance,
    laplacian_pyramid,
    sliced_wasserstein_distance,
)

SIZE = 32


def blobs(count: int, seed: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth shapes below a little noise: something at each level."""
    chance = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(chance.standard_normal((count, size, size)), (0, 3, 3))
    return grey(128 + 40 * smooth / smooth.std() + 4 * chance.standard_normal((count, size, size)))


def grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def smoothed(image: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
    kernel = gain * np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    return np.asarray(signal.convolve2d(np.pad(image, 2, mode="reflect"), kernel, mode="valid"))


def pyramid_written_out(image: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    levels = [image.astype(np.float64)]
    while math.ceil(len(levels[-1]) / 2) >= 16:
        reduced = smoothed(levels[-1], 1)[::2, ::2]
        spread = np.zeros_like(levels[-1])
        spread[::2, ::2] = reduced
        levels[-1] = levels[-1] - smoothed(spread, 4)
        levels.append(reduced)
    return levels


def distance_written_out(real: NDArray[np.uint8], synthetic: NDArray[np.uint8], seed: int) -> list[float]:
    """Patch by patch and direction by direction, with the same draws."""
    chance = np.random.default_rng(seed)
    pyramids = [[pyramid_written_out(image) for image in images] for images in (real, synthetic)]
    distances = []
    for level in range(len(pyramids[0][0])):
        side = len(pyramids[0][0][level])
        rows, columns = chance.integers(side - 6, size=(2, len(real), PATCHES_PER_IMAGE)).tolist()
        directions = chance.standard_normal((DIRECTIONS, 49))
        sets = []
        for pyramid in pyramids:
            patches = np.array(
                [
                    levels[level][row : row + 7, column : column + 7].ravel()
                    for levels, *places in zip(pyramid, rows, columns, strict=True)
                    for row, column in zip(*places, strict=True)
                ]
            )
            sets.append((patches - patches.mean()) / patches.std())
        along = [direction / np.linalg.norm(direction) for direction in directions]
        distances.append(1000 * np.mean([wasserstein_distance(sets[0] @ line, sets[1] @ line) for line in along]))
    return distances


def by_level(distance: SlicedWassersteinDistance) -> dict[int, float]:
    return {level.pixels: level.distance for level in distance.levels}


@pytest.mark.parametrize("size", [16, 31, 32, 45, 64])
def test_a_pyramid_is_what_its_definition_says(size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, size, size), np.uint8)
    levels = list(laplacian_pyramid(images))
    for number, image in enumerate(images):
        for level, expected in zip(levels, pyramid_written_out(image), strict=True):
            np.testing.assert_allclose(level[number], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "sides"), [(16, [16]), (28, [28]), (31, [31, 16]), (45, [45, 23]), (64, [64, 32, 16])]
)
def test_levels_reach_down_to_sixteen_pixels(size: int, sides: list[int]) -> None:
    distance = sliced_wasserstein_distance(blobs(3, 0, size), blobs(3, 1, size), seed=0)
    assert [level.pixels for level in distance.levels] == sides
    assert distance.mean == pytest.approx(np.mean([level.distance for level in distance.levels]))


def test_the_distance_is_what_its_definition_says() -> None:
    real, synthetic = (
        blobs(3, 0),
        blobs(3, 1) // 2 + np.random.default_rng(2).integers(0, 60, (3, SIZE, SIZE), np.uint8),
    )
    distance = sliced_wasserstein_distance(real, synthetic, seed=7)
    expected = distance_written_out(real, synthetic, seed=7)
    np.testing.assert_allclose([level.distance for level in distance.levels], expected, rtol=1e-4)


def test_a_set_is_at_no_distance_from_itself_and_both_ways_are_as_far() -> None:
    real, synthetic = blobs(8, 0), blobs(8, 1)
    assert sliced_wasserstein_distance(real, real, seed=0).mean == 0
    there, back = (sliced_wasserstein_distance(*sets, seed=0) for sets in ((real, synthetic), (synthetic, real)))
    assert there == back
    assert there.mean > 0


def test_a_seed_repeats_itself_and_another_does_not() -> None:
    real, synthetic = blobs(8, 0), blobs(8, 1)
    first = sliced_wasserstein_distance(real, synthetic, seed=0)
    assert first == sliced_wasserstein_distance(real, synthetic, seed=0)
    assert first != sliced_wasserstein_distance(real, synthetic, seed=1)


def test_brightness_and_contrast_of_a_set_do_not_show() -> None:
    real = blobs(8, 0) // 2
    assert sliced_wasserstein_distance(real, 2 * real + np.uint8(1), seed=0).mean < 0.01


def test_noise_is_as_far_from_blank_images_as_a_normal_variable_from_its_mean() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 16, 16), np.uint8)
    distance = sliced_wasserstein_distance(noise, np.full_like(noise, 77), seed=0)
    assert distance.mean == pytest.approx(1000 * math.sqrt(2 / math.pi), rel=0.02)


def test_fewer_images_are_farther_apart() -> None:
    few, many = (sliced_wasserstein_distance(blobs(n, 0), blobs(n, 1), seed=0).mean for n in (8, 128))
    assert few > 2 * many


def test_a_loss_of_detail_shows_at_the_level_of_that_detail() -> None:
    real, other = blobs(64, 0), blobs(64, 1)
    floor = by_level(sliced_wasserstein_distance(real, other, seed=0))
    blurred = grey(ndimage.gaussian_filter(other.astype(np.float64), (0, 0.7, 0.7)))
    distance = by_level(sliced_wasserstein_distance(real, blurred, seed=0))
    assert distance[32] > 3 * floor[32]
    assert distance[16] < 1.5 * floor[16]


def test_golden_numbers() -> None:
    distance = sliced_wasserstein_distance(blobs(16, 0), blobs(16, 1), seed=0)
    assert by_level(distance) == pytest.approx({32: 41.3985, 16: 81.8345}, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "other", "sentence"),
    [
        ((4, 32, 32), (5, 32, 32), "as many images of one size"),
        ((4, 32, 32), (4, 28, 28), "as many images of one size"),
        ((4, 15, 15), (4, 15, 15), "16 pixels or more"),
        ((0, 32, 32), (0, 32, 32), "there must be some"),
    ],
)
def test_sets_that_do_not_compare_are_refused(shape: tuple[int, ...], other: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        sliced_wasserstein_distance(np.zeros(shape, np.uint8), np.zeros(other, np.uint8), seed=0)
