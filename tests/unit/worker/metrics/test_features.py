"""What every extractor must hold, the pixel components against an exact decomposition, and sets that are refused."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import linalg, ndimage

from worker.contract.errors import InvalidRequest, NoUsableImages
from worker.metrics.features import IMAGES_AT_ONCE, FeatureExtractor, Images, PixelComponents, check_features


def drawn(count: int, size: int = 16, seed: int = 0) -> Images:
    """Soft clouds, in which few components hold most of the variance, as in radiographs."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size))
    clouds = ndimage.gaussian_filter(noise, (0, 3, 3))
    return np.clip(128 + 400 * clouds, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("fit", [PixelComponents])
def test_what_every_extractor_holds(fit: Callable[[Images], FeatureExtractor]) -> None:
    images = drawn(100)
    extractor = fit(images)
    features = extractor(images[:10])
    assert features.shape == (10, extractor.dimensions)
    assert features.dtype == np.float64
    assert np.isfinite(features).all()
    assert extractor.name == extractor.name.lower()
    assert extractor.fitted_on
    assert extractor.comparable_with_published in (False, True)
    assert extractor(images[:0]).shape == (0, extractor.dimensions)
    # An image's features are its own, whatever else is in the array.
    np.testing.assert_allclose(extractor(images[3:5]), features[3:5], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(fit(images)(images), extractor(images))


def test_pixel_components_are_the_principal_ones() -> None:
    images = drawn(200)
    grey = images.reshape(200, -1) / 255
    mean = grey.mean(axis=0)
    _, spread, axes = linalg.svd(grey - mean, full_matrices=False)
    extractor = PixelComponents(images, 12)
    others = drawn(20, seed=1)
    expected = (others.reshape(20, -1) / 255 - mean) @ axes[:12].T
    found = extractor(others)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3)
    assert extractor.explained_variance == pytest.approx((spread[:12] ** 2).sum() / (spread**2).sum(), rel=1e-3)


def test_pixel_components_say_what_they_are() -> None:
    extractor = PixelComponents(drawn(1200, 8), 5)
    assert (extractor.name, extractor.dimensions, extractor.comparable_with_published) == ("pixels", 5, False)
    assert extractor.fitted_on == "1,200 reference images of 8x8 pixels"


@pytest.mark.parametrize(("count", "size", "dimensions"), [(2, 16, 1), (40, 16, 39), (100, 4, 16), (100, 16, 64)])
def test_there_are_no_more_components_than_the_reference_gives(count: int, size: int, dimensions: int) -> None:
    extractor = PixelComponents(drawn(count, size))
    assert extractor.dimensions == dimensions
    assert extractor(drawn(3, size, seed=1)).shape == (3, dimensions)
    assert 0 < extractor.explained_variance <= 1 + 1e-6


def test_blocks_meet_without_a_seam() -> None:
    images = drawn(IMAGES_AT_ONCE + 3, 8)
    extractor = PixelComponents(images[:50], 4)
    last = extractor(images[-5:])
    np.testing.assert_allclose(extractor(images)[-5:], last, rtol=1e-4, atol=1e-4)


def test_the_seed_of_the_search_hardly_matters() -> None:
    images = drawn(300)
    first, second = (np.abs(PixelComponents(images, 8, seed=seed)(images)) for seed in (0, 1))
    np.testing.assert_allclose(first, second, atol=1e-2)


def test_the_reference_is_left_as_it_was() -> None:
    images = drawn(50)
    before = images.copy()
    PixelComponents(images)(images)
    np.testing.assert_array_equal(images, before)


def test_a_reference_without_differences_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="need 2 reference images, and there are 1"):
        PixelComponents(drawn(1))
    with pytest.raises(NoUsableImages, match="All reference images are equal"):
        PixelComponents(np.full((10, 8, 8), 7, np.uint8))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="64 features"):
        PixelComponents(drawn(10, 16))(drawn(10, 8))


@pytest.mark.parametrize("shape", [(5, 4), (5,), (5, 3, 1)])
def test_features_of_another_kind_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        check_features(np.zeros((5, 3)), np.zeros(shape), at_least=2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="synthetic features are not all finite"):
        check_features(np.zeros((5, 3)), np.full((5, 3), value), at_least=2)


def test_too_few_images_are_refused_by_kind() -> None:
    check_features(np.zeros((4, 3)), np.zeros((4, 3)), at_least=4)
    with pytest.raises(InvalidRequest, match="There are 3 reference images, and this metric needs 4 or more"):
        check_features(np.zeros((3, 3)), np.zeros((4, 3)), at_least=4)
