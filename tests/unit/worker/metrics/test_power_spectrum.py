"""Spectra against a sum over frequencies written out, waves of known power, and artefacts put in on purpose."""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

from worker.metrics.power_spectrum import IMAGES_AT_ONCE, power_spectrum, spectral_distance

SIZE = 32
CHECKERBOARD = (-1) ** np.add.outer(np.arange(SIZE), np.arange(SIZE))
STRIPES = np.broadcast_to((-1) ** np.arange(SIZE), (SIZE, SIZE))
CORNER, ROW_END = math.sqrt(0.5), 0.5


def clouds(count: int, seed: int, amplitude: float = 40.0) -> NDArray[np.uint8]:
    """Noise whose power falls with the 3.5th power of frequency, as that of radiographs does."""
    along = np.fft.fftfreq(SIZE)
    frequencies = np.hypot(along[:, np.newaxis], along)
    frequencies[0, 0] = np.inf
    white = np.random.default_rng(seed).standard_normal((count, SIZE, SIZE))
    smooth = np.fft.ifft2(np.fft.fft2(white) * frequencies**-1.75).real
    return grey(128 + amplitude * smooth / smooth.std())


def grey(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


REAL, OTHER = clouds(100, 0), clouds(100, 1)


def spectrum_written_out(images: NDArray[np.uint8]) -> list[float]:
    """Frequency by frequency, each a sum over the pixels of a windowed image."""
    size = images.shape[1]
    places = np.arange(size)
    window = np.sin(np.pi * places / size) ** 2
    window = np.outer(window, window)
    window /= math.sqrt(np.mean(window**2))
    rings: dict[int, list[float]] = {}
    for across in range(-(size // 2), (size + 1) // 2):
        for down in range(-(size // 2), (size + 1) // 2):
            wave = np.exp(-2j * np.pi * np.add.outer(down * places, across * places) / size)
            amplitudes = [np.mean((image - image.mean()) * window * wave) for image in images]
            rings.setdefault(round(math.hypot(across, down)), []).append(float(np.mean(np.abs(amplitudes) ** 2)))
    return [float(np.mean(rings[radius])) for radius in sorted(rings)]


@pytest.mark.parametrize("size", [8, 11])
def test_a_spectrum_is_what_its_definition_says(size: int) -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, size, size), np.uint8)
    np.testing.assert_allclose(power_spectrum(images), spectrum_written_out(images), rtol=1e-9, atol=1e-12)


def test_blocks_do_not_show() -> None:
    images = np.random.default_rng(3).integers(0, 256, (IMAGES_AT_ONCE + 5, 8, 8), np.uint8)
    one_by_one = np.mean([power_spectrum(image[np.newaxis]) for image in images], axis=0)
    np.testing.assert_allclose(power_spectrum(images), one_by_one)


def test_white_noise_has_the_same_power_everywhere_and_all_of_it_is_its_variance() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (2000, SIZE, SIZE), np.uint8)
    variance = (256**2 - 1) / 12
    np.testing.assert_allclose(power_spectrum(noise)[2:] * SIZE**2, variance, rtol=0.05)


def test_twice_the_contrast_is_six_decibels_more_everywhere() -> None:
    noise = np.random.default_rng(5).integers(0, 120, (50, SIZE, SIZE), np.uint8)
    distance = spectral_distance(noise, 2 * noise)
    decibels = 20 * math.log10(2)
    assert distance.log_spectral_distance == pytest.approx(decibels, abs=0.01)
    assert distance.high_frequency_excess == pytest.approx(decibels, abs=0.01)
    assert distance.peak_excess == pytest.approx(decibels, abs=0.01)


def test_a_set_is_at_no_distance_from_itself_nor_from_a_brighter_one() -> None:
    brighter = REAL // 2 + np.uint8(100)
    for synthetic in (REAL // 2, brighter):
        distance = spectral_distance(REAL // 2, synthetic)
        assert distance.log_spectral_distance == pytest.approx(0, abs=1e-9)
        assert distance.high_frequency_excess == pytest.approx(0, abs=1e-9)


def test_the_distance_is_the_same_both_ways_and_the_excess_turns_around() -> None:
    there, back = spectral_distance(REAL, repeat_pixels(OTHER)), spectral_distance(repeat_pixels(OTHER), REAL)
    assert there.log_spectral_distance == pytest.approx(back.log_spectral_distance)
    assert there.high_frequency_excess == pytest.approx(-back.high_frequency_excess)


def test_blank_images_have_a_distance() -> None:
    blank = np.full((2, SIZE, SIZE), 128, np.uint8)
    assert spectral_distance(blank, blank).log_spectral_distance == 0
    assert math.isfinite(spectral_distance(REAL, blank).log_spectral_distance)


def test_two_samples_of_one_population_are_near_each_other() -> None:
    distance = spectral_distance(REAL, OTHER)
    assert distance.log_spectral_distance < 0.5
    assert abs(distance.high_frequency_excess) < 0.2
    assert distance.peak_excess < 1


@pytest.mark.parametrize(("pattern", "frequency"), [(CHECKERBOARD, CORNER), (3 * STRIPES, ROW_END)])
def test_a_faint_pattern_is_found_and_where_it_is(pattern: NDArray[np.int64], frequency: float) -> None:
    distance = spectral_distance(REAL, grey(OTHER.astype(np.int64) + pattern))
    assert distance.peak_excess > 5
    assert distance.peak_frequency == pytest.approx(frequency, abs=1 / SIZE)


def test_up_sampling_by_repeated_pixels_is_found() -> None:
    distance = spectral_distance(REAL, repeat_pixels(OTHER))
    assert distance.high_frequency_excess > 4
    assert distance.log_spectral_distance > 3


def test_blur_is_found() -> None:
    distance = spectral_distance(REAL, grey(ndimage.gaussian_filter(OTHER.astype(np.float64), (0, 1, 1))))
    assert distance.high_frequency_excess < -10
    assert distance.log_spectral_distance > 5


def test_artefacts_of_radiographs_are_found(shared_data: Path) -> None:
    with np.load(shared_data / "pneumoniamnist.npz") as sets:
        real, other = sets["train_images"][:1000], sets["train_images"][1000:2000]
    pattern = CHECKERBOARD[:28, :28]
    assert spectral_distance(real, other).log_spectral_distance < 0.5
    assert spectral_distance(real, grey(other.astype(np.int64) + pattern)).peak_excess > 20
    assert spectral_distance(real, repeat_pixels(other)).high_frequency_excess > 5
    blurred = grey(ndimage.gaussian_filter(other.astype(np.float64), (0, 1, 1)))
    assert spectral_distance(real, blurred).high_frequency_excess < -10


def repeat_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve images and bring them back by nearest-neighbour up-sampling."""
    count, size, _ = images.shape
    halved = grey(images.reshape(count, size // 2, 2, size // 2, 2).mean(axis=(2, 4)))
    return halved.repeat(2, axis=1).repeat(2, axis=2)


def test_golden_numbers() -> None:
    distance = asdict(spectral_distance(REAL, repeat_pixels(OTHER)))
    expected = {
        "log_spectral_distance": 4.3548014,
        "high_frequency_excess": 5.5512741,
        "peak_excess": 9.1205793,
        "peak_frequency": 15 / SIZE,
    }
    assert distance == pytest.approx(expected, rel=1e-6)


def test_sets_that_do_not_compare_are_refused() -> None:
    with pytest.raises(ValueError, match="different frequencies"):
        spectral_distance(REAL, REAL[:, :28, :28])
    with pytest.raises(ValueError, match="has no spectrum"):
        spectral_distance(REAL, REAL[:0])
