"""The distance against the paper's formula with a matrix root, and against what is known of normal distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from worker.contract.errors import InvalidRequest
from worker.metrics.features import Features
from worker.metrics.frechet_distance import frechet_distance

SEEDS = st.integers(0, 2**32 - 1)


def normal(seed: int, images: int, dimensions: int) -> Features:
    """A sample whose dimensions are correlated, and differ in mean and spread."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(dimensions, dimensions))
    return generator.normal(size=(images, dimensions)) @ mix + generator.normal(size=dimensions)


def by_the_paper(reference: Features, synthetic: Features) -> float:
    first, second = np.cov(reference, rowvar=False), np.cov(synthetic, rowvar=False)
    root = linalg.sqrtm(first @ second)
    apart = reference.mean(0) - synthetic.mean(0)
    return float((apart @ apart + np.trace(first + second - 2 * root)).real)


def by_a_symmetric_root(reference: Features, synthetic: Features) -> float:
    """The same where the covariances are singular, which a root of their product does not stand."""
    first, second = np.cov(reference, rowvar=False), np.cov(synthetic, rowvar=False)
    values, vectors = linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = reference.mean(0) - synthetic.mean(0)
    return float(apart @ apart + np.trace(first + second) - 2 * shared)


@settings(max_examples=30)
@given(seed=SEEDS, dimensions=st.integers(2, 12), more=st.integers(0, 60))
def test_it_is_the_formula_of_the_paper(seed: int, dimensions: int, more: int) -> None:
    reference, synthetic = normal(seed, 60, dimensions), normal(seed + 1, 60 + more, dimensions)
    found = frechet_distance(reference, synthetic)
    assert found.distance == pytest.approx(by_the_paper(reference, synthetic), rel=1e-6)
    assert frechet_distance(synthetic, reference).distance == pytest.approx(found.distance, rel=1e-9)


@settings(max_examples=30)
@given(seed=SEEDS, images=st.integers(2, 19), others=st.integers(2, 40))
def test_fewer_images_than_dimensions_leave_a_plain_number(seed: int, images: int, others: int) -> None:
    reference, synthetic = normal(seed, images, 20), normal(seed + 1, others, 20)
    found = frechet_distance(reference, synthetic)
    assert found.distance == pytest.approx(by_a_symmetric_root(reference, synthetic), rel=1e-5)
    assert found.warning is not None


@pytest.mark.parametrize("images", [2, 10, 200])
def test_a_set_is_at_no_distance_from_itself(images: int) -> None:
    sample = normal(0, images, 16)
    found = frechet_distance(sample, sample[::-1])
    assert 0 <= found.distance < 1e-12 * np.trace(np.cov(sample, rowvar=False))


@settings(max_examples=30)
@given(seed=SEEDS, shift=st.lists(st.floats(-10, 10), min_size=5, max_size=5), scale=st.floats(0.1, 10))
def test_a_shift_counts_squared_and_a_scale_by_the_spread(seed: int, shift: list[float], scale: float) -> None:
    sample = normal(seed, 50, 5)
    mean, variance = sample.mean(axis=0), np.cov(sample, rowvar=False).trace()
    changed = mean + shift + scale * (sample - mean)
    expected = np.square(shift).sum() + (scale - 1) ** 2 * variance
    assert frechet_distance(sample, changed).distance == pytest.approx(expected, rel=1e-9, abs=1e-9 * variance)


def test_turned_features_are_as_far_apart() -> None:
    reference, synthetic = normal(1, 80, 8), normal(2, 90, 8)
    turn = linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    turned = frechet_distance(reference @ turn, synthetic @ turn)
    assert turned.distance == pytest.approx(frechet_distance(reference, synthetic).distance, rel=1e-9)


@pytest.mark.parametrize(("images", "dimensions"), [(200, 4), (400, 16), (1600, 64)])
def test_few_images_inflate_it_as_said(images: int, dimensions: int) -> None:
    generator = np.random.default_rng(0)
    distances = [
        frechet_distance(*generator.normal(size=(2, images, dimensions))).distance for _ in range(4000 // images)
    ]
    assert np.mean(distances) == pytest.approx(dimensions * (dimensions + 5) / (2 * images), rel=0.15)


@pytest.mark.parametrize(("images", "dimensions", "enough"), [(312, 64, False), (313, 64, True), (5, 1, True)])
def test_a_warning_names_the_images_and_the_dimensions(images: int, dimensions: int, enough: bool) -> None:
    sample, few = np.random.default_rng(0).normal(size=(2, 400, dimensions))
    for pair in ((sample, few[:images]), (few[:images], sample)):
        warning = frechet_distance(*pair).warning
        assert (warning is None) == enough
        assert enough or f"{images} images are too few for {dimensions} dimensions, which need 313" in str(warning)


@pytest.mark.parametrize(("dimensions", "needed"), [(256, "1,250"), (2048, "10,000")])
def test_of_many_dimensions_few_images_are_sent_to_the_kernel_distance(dimensions: int, needed: str) -> None:
    warning = frechet_distance(*np.random.default_rng(0).normal(size=(2, 40, dimensions))).warning
    assert warning is not None
    assert f"40 images are too few for {dimensions:,} dimensions, which need {needed}" in warning
    assert "go by the kernel distance" in warning


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2017)
    reference, synthetic = generator.normal(size=(100, 6)), generator.gamma(2, size=(80, 6))
    assert frechet_distance(reference, synthetic).distance == pytest.approx(24.8536592721124, rel=1e-9)


def test_one_image_has_no_spread() -> None:
    with pytest.raises(InvalidRequest, match="There are 1 synthetic images, and this metric needs 2 or more"):
        frechet_distance(np.zeros((5, 3)), np.zeros((1, 3)))
