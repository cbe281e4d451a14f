"""How the power of images spreads over spatial frequencies, and where a generator's up-sampling shows in it.

Up-sampling in a generator repeats the low frequencies at the high ones, or cuts these off, and training hardly mends it
(Durall et al. 2020, "Watch your Up-Convolution"). Unlike there, images pass through a Hann window: the opposite edges
of a radiograph differ, and the jump between them has more power at high frequencies than the lungs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft  # type: ignore[import-untyped]  # it ships no types
from scipy.signal.windows import hann  # type: ignore[import-untyped]

HIGH_FREQUENCY = 3 / 8
"""From here, in cycles per pixel, a frequency counts as high: three quarters of the highest along a row."""
IMAGES_AT_ONCE = 128
"""Bounds the memory of the transform."""
_ROUNDING_VARIANCE = 1 / 12
"""Of rounding to whole grey levels, which is white noise: no power below its is an image's own."""


@dataclass(frozen=True)
class SpectralDistance:
    """What the power of synthetic images has above that of real ones, in decibels: 6 dB are twice the contrast.

    `log_spectral_distance`: root mean square difference of the azimuthally averaged spectra, every radius alike.
    `high_frequency_excess`: of all power from HIGH_FREQUENCY up. Below 0 where images are blurred, above 0 where they
    are noisy or of repeated pixels, if real ones are as smooth as radiographs are.
    `peak_excess`: the largest of any radius from HIGH_FREQUENCY up. Far above the other one where a pattern repeats.
    `peak_frequency`: where that is, in cycles per pixel: near 0.5 for stripes, near 0.7 for a checkerboard.
    """

    log_spectral_distance: float
    high_frequency_excess: float
    peak_excess: float
    peak_frequency: float


def power_spectrum(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The azimuthally averaged power spectrum of a set of images (Durall et al. 2020), a mean over the angle.

    Args:
        images: uint8 (N, S, S).

    Returns:
        (K,): value k is the mean power of the frequencies that are k / S cycles per pixel from zero, to the nearest k,
        in squared grey levels; the power of all frequencies adds up to the variance of a pixel within its image. Radii
        above S / 2, up to S / sqrt(2), are those of the corners, where a checkerboard is.
    """
    return _azimuthal_average(_power(images))


def spectral_distance(real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> SpectralDistance:
    """Compare the spectra of two sets of images (N, S, S), whose numbers may differ; brightness is left out.

    Raises:
        ValueError: a set has no images, or the sizes differ.
    """
    if real.shape[1:] != synthetic.shape[1:]:
        raise ValueError(f"images of {real.shape[1:]} and of {synthetic.shape[1:]} pixels have different frequencies")
    if not (len(real) and len(synthetic)):
        raise ValueError("a set without images has no spectrum")
    size = real.shape[1]
    power, reference = _power(synthetic), _power(real)
    excess = _decibels(_azimuthal_average(power), _azimuthal_average(reference), size)[1:]
    radii = np.arange(1, len(excess) + 1) / size
    high = _frequencies(size) >= HIGH_FREQUENCY
    peak = int(np.argmax(np.where(radii >= HIGH_FREQUENCY, excess, -np.inf)))
    return SpectralDistance(
        log_spectral_distance=float(np.sqrt(np.mean(excess**2))),
        high_frequency_excess=float(_decibels(power[high].mean(), reference[high].mean(), size)),
        peak_excess=float(excess[peak]),
        peak_frequency=float(radii[peak]),
    )


def _power(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean power of each frequency, (S, S), zero first, as the transform orders them."""
    size = images.shape[1]
    along = hann(size, sym=False)
    window = np.outer(along, along) / np.mean(along**2)
    total = np.zeros((size, size))
    for first in range(0, len(images), IMAGES_AT_ONCE):
        block = images[first : first + IMAGES_AT_ONCE]
        transformed = fft.fft2((block - block.mean(axis=(1, 2), keepdims=True)) * window, norm="forward")
        total += (transformed.real**2 + transformed.imag**2).sum(axis=0)
    return total / len(images)


def _frequencies(size: int) -> NDArray[np.float64]:
    """How far each frequency is from zero: (S, S), cycles per pixel, up to sqrt(1/2) in the corner."""
    along: NDArray[np.float64] = fft.fftfreq(size)
    return np.hypot(along[:, np.newaxis], along)


def _azimuthal_average(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the frequencies of each radius, to the nearest whole one."""
    radii = np.rint(_frequencies(len(power)) * len(power)).astype(np.int64).ravel()
    return np.bincount(radii, power.ravel()) / np.bincount(radii)


def _decibels(power: NDArray[np.float64], reference: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """A ratio of powers, each above what rounding the pixels to whole grey levels brings with it."""
    floor = _ROUNDING_VARIANCE / size**2
    return np.asarray(10 * np.log10((power + floor) / (reference + floor)))
