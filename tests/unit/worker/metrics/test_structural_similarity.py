"""Similarities against scikit-image, scale by scale, and sets that have collapsed or have not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity as scikit_image_similarity

from worker.metrics import structural_similarity as module
from worker.metrics.structural_similarity import SCALE_WEIGHTS, diversity, scales, structural_similarity

ENOUGH_TO_HIDE_LUMINANCE = 1e6
"""A K1 for which luminance is 1 wherever it is compared, so that only contrast and structure are left."""


def blobs(count: int, seed: int, size: int = 32) -> NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(chance.standard_normal((count, size, size)), (0, 3, 3))
    return np.rint(np.clip(128 + 40 * smooth / smooth.std(), 0, 255)).astype(np.uint8)


def similarity_written_out(first: NDArray[np.uint8], second: NDArray[np.uint8], number: int) -> float:
    """Eq. 7 of Wang et al. 2003, on the maps of scikit-image."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    weights = np.array(SCALE_WEIGHTS[:number]) / sum(SCALE_WEIGHTS[:number])
    left, right, value = first.astype(np.float64), second.astype(np.float64), 1.0
    for weight in weights[:-1]:
        value *= max(scikit_image_similarity(left, right, K1=ENOUGH_TO_HIDE_LUMINANCE, **settings), 0) ** weight
        left, right = block_reduce(left, 2, np.mean), block_reduce(right, 2, np.mean)
    return float(value * max(scikit_image_similarity(left, right, **settings), 0) ** weights[-1])


@pytest.mark.parametrize(
    ("pixels", "number"), [(11, 1), (20, 1), (21, 2), (28, 2), (41, 3), (64, 3), (128, 4), (161, 5), (1024, 5)]
)
def test_there_are_as_many_scales_as_hold_a_window(pixels: int, number: int) -> None:
    assert scales(pixels) == number


@pytest.mark.parametrize("size", [16, 28, 64, 128, 176])
def test_similarity_is_what_its_definition_says(size: int) -> None:
    first = blobs(3, 0, size)
    second = (blobs(3, 1, size) // 2 + first // 2).astype(np.uint8)
    expected = [similarity_written_out(*pair, scales(size)) for pair in zip(first, second, strict=True)]
    np.testing.assert_allclose(structural_similarity(first, second), expected, rtol=1e-6)


@given(images=arrays(np.uint8, (2, 21, 21)))
@settings(max_examples=30)
def test_an_image_is_like_itself_and_likeness_is_mutual_and_within_its_range(images: NDArray[np.uint8]) -> None:
    first, second = images[:1], images[1:]
    np.testing.assert_allclose(structural_similarity(images, images), 1)
    there, back = structural_similarity(first, second), structural_similarity(second, first)
    np.testing.assert_allclose(there, back)
    assert 0 <= there[0] <= 1 + 1e-12


def test_an_image_has_nothing_in_common_with_its_negative() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    assert structural_similarity(images, 255 - images).tolist() == [0, 0]


def test_flat_images_differ_in_luminance_at_the_last_scale_alone() -> None:
    dark, bright = np.full((1, 28, 28), 60, np.uint8), np.full((1, 28, 28), 180, np.uint8)
    constant = 2.55**2
    luminance = (2 * 60 * 180 + constant) / (60**2 + 180**2 + constant)
    share = SCALE_WEIGHTS[1] / (SCALE_WEIGHTS[0] + SCALE_WEIGHTS[1])
    assert structural_similarity(dark, bright)[0] == pytest.approx(luminance**share)


def test_an_odd_last_row_is_repeated_in_halving() -> None:
    images = blobs(2, 0, 45)
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1)), mode="edge").astype(np.float64)
    expected = [block_reduce(image, 2, np.mean) for image in padded]
    np.testing.assert_allclose(module._halve(images.astype(np.float64)), expected)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = blobs(7, 0), blobs(7, 1)
    at_once = structural_similarity(first, second)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 3 * 32 * 32)
    np.testing.assert_allclose(structural_similarity(first, second), at_once)
    assert structural_similarity(first[:0], second[:0]).shape == (0,)


def test_more_of_the_same_is_less_varied_and_says_so() -> None:
    real = blobs(200, 0)
    collapsed = diversity(real, blobs(4, 1).repeat(50, axis=0), seed=0)
    assert collapsed.warning is not None
    assert f"MS-SSIM {collapsed.synthetic:.3f} against {collapsed.real:.3f}" in collapsed.warning
    assert collapsed.synthetic > collapsed.real + collapsed.real_spread
    assert (collapsed.scales, collapsed.pairs) == (2, 50)


def test_other_images_of_one_population_are_as_varied() -> None:
    assert diversity(blobs(200, 0), blobs(200, 1), seed=0).warning is None


def test_few_other_images_raise_the_alarm_rarely() -> None:
    """The spread is that of new images, not only of new pairs of the same ones."""
    population = blobs(2000, 0, 16)
    halves = population.reshape(50, 2, 20, 16, 16)
    alarms = [diversity(real, other, seed).warning is not None for seed, (real, other) in enumerate(halves)]
    assert sum(alarms) <= 5


def test_noise_raises_no_alarm() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32), np.uint8)
    result = diversity(blobs(100, 0), noise, seed=0)
    assert result.synthetic < result.real
    assert result.warning is None


def test_a_seed_repeats_itself_and_another_does_not() -> None:
    real, synthetic = blobs(40, 0), blobs(60, 1)
    assert diversity(real, synthetic, seed=0) == diversity(real, synthetic, seed=0)
    assert diversity(real, synthetic, seed=0) != diversity(real, synthetic, seed=1)


def test_copies_of_few_radiographs_raise_the_alarm(shared_data: Path) -> None:
    with np.load(shared_data / "pneumoniamnist.npz") as sets:
        images = sets["train_images"][sets["train_labels"].ravel() == 1]
    assert diversity(images[:1000], images[1000:2000], seed=0).warning is None
    assert diversity(images[:1000], images[1000:1002].repeat(500, axis=0), seed=0).warning is not None


def test_golden_numbers() -> None:
    result = diversity(blobs(40, 0), blobs(40, 1) // 2, seed=0)
    assert (result.real, result.real_spread, result.synthetic) == pytest.approx(
        (0.15235974, 0.15157273, 0.21822035), rel=1e-6
    )


def test_images_that_do_not_compare_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than the window"):
        structural_similarity(np.zeros((1, 10, 10), np.uint8), np.zeros((1, 10, 10), np.uint8))
    with pytest.raises(ValueError, match="counterpart of its size"):
        structural_similarity(blobs(2, 0), blobs(3, 0))
    with pytest.raises(ValueError, match="do not compare"):
        diversity(blobs(4, 0), blobs(4, 0, 28), seed=0)
    with pytest.raises(ValueError, match="too few"):
        diversity(blobs(4, 0), blobs(3, 0), seed=0)
