"""Density and coverage against the paper's definition, and their known means between equal distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from worker.contract.errors import InvalidRequest
from worker.metrics.density_coverage import DensityCoverage, density_coverage
from worker.metrics.features import Features
from worker.metrics.precision_recall import precision_recall

SEEDS = st.integers(0, 2**32 - 1)


def by_the_paper(reference: Features, synthetic: Features, k: int) -> tuple[float, float]:
    """Naeem et al. 2020, section 3, a ball at a time."""
    radii = [np.sort(cdist([real], reference)[0])[k] for real in reference]  # the nearest one is the image itself
    held = [
        [np.linalg.norm(fake - real) <= radius for fake in synthetic]
        for real, radius in zip(reference, radii, strict=True)
    ]
    return float(np.sum(held) / (k * len(synthetic))), float(np.mean([any(ball) for ball in held]))


@settings(max_examples=30)
@given(seed=SEEDS, images=st.integers(6, 25), others=st.integers(6, 25), k=st.integers(1, 5))
def test_they_are_those_of_the_paper(seed: int, images: int, others: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    # On a grid, many points lie on the surface of a ball, without rounding.
    reference, synthetic = generator.integers(0, 4, (images, 3)) * 1.0, generator.integers(1, 5, (others, 3)) * 1.0
    found = density_coverage(reference, synthetic, neighbours=k)
    assert (found.density, found.coverage) == pytest.approx(by_the_paper(reference, synthetic, k))


def test_equal_distributions_have_the_means_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    images, k, times = 50, 5, 300
    found = [density_coverage(*generator.normal(size=(2, images, 3))) for _ in range(times)]
    # All of the k nearest ones of a real image are real, drawn from its images - 1 real and as many synthetic others.
    uncovered = np.prod([(images - 1 - rank) / (2 * images - 1 - rank) for rank in range(k)])
    for values, mean in (([each.density for each in found], 1), ([each.coverage for each in found], 1 - uncovered)):
        assert abs(np.mean(values) - mean) < 3 * np.std(values) / np.sqrt(times)
    assert 1 - uncovered == pytest.approx(1 - 2**-k, abs=0.01)


def test_a_set_covers_itself_and_every_image_counts_for_its_own_ball() -> None:
    sample = np.random.default_rng(1).integers(0, 10_000, size=(200, 3)).astype(np.float64)  # no rounding
    assert density_coverage(sample, sample) == DensityCoverage(density=pytest.approx(6 / 5), coverage=1.0, neighbours=5)


def test_sets_that_are_far_apart_share_nothing() -> None:
    reference, synthetic = np.random.default_rng(2).normal(size=(2, 100, 4))
    assert density_coverage(reference, synthetic + 100) == DensityCoverage(0.0, 0.0, 5)


def test_a_crowd_is_dense_and_covers_little() -> None:
    generator = np.random.default_rng(3)
    reference = generator.normal(size=(500, 16))
    found = density_coverage(reference, reference.mean(axis=0) + 0.01 * generator.normal(size=(500, 16)))
    assert found.density > 5
    assert found.coverage < 0.5


def test_an_outlier_among_the_real_ones_does_not_make_noise_dense() -> None:
    # The figure of the paper: with a single real outlier, whatever is around it counts as precise.
    generator = np.random.default_rng(4)
    reference = np.vstack([generator.normal(size=(199, 2)), [[50.0, 50.0]]])
    noise = np.vstack([generator.normal(size=(100, 2)), 50 + 10 * generator.normal(size=(100, 2))])
    assert precision_recall(reference, noise).precision > 0.9
    assert density_coverage(reference, noise).density < 0.75


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2020)
    found = density_coverage(generator.normal(size=(100, 6)), generator.gamma(2, size=(80, 6)) - 1.5)
    assert (found.density, found.coverage) == pytest.approx((0.6525, 0.93), rel=1e-12)


def test_the_kth_neighbour_needs_k_others() -> None:
    with pytest.raises(InvalidRequest, match="There are 5 reference images, and this metric needs 6 or more"):
        density_coverage(np.zeros((5, 2)), np.zeros((9, 2)))
