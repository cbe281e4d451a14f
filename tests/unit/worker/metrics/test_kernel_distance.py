"""The discrepancy against sums over pairs and against moments of known distributions; few images do not bias it."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from worker.contract.errors import InvalidRequest
from worker.metrics.features import Features
from worker.metrics.kernel_distance import KernelDistance, kernel_distance, squared_discrepancy

SEEDS = st.integers(0, 2**32 - 1)


def by_pairs(first: Features, second: Features) -> float:
    """Gretton et al. 2012, eq. 3, a pair at a time."""

    def kernel(one: Features, other: Features) -> float:
        return float((one @ other / len(one) + 1) ** 3)

    within = [np.mean([kernel(one, other) for one, other in permutations(each, 2)]) for each in (first, second)]
    return float(sum(within) - 2 * np.mean([kernel(one, other) for one, other in product(first, second)]))


@settings(max_examples=30)
@given(seed=SEEDS, images=st.integers(2, 8), others=st.integers(2, 8), dimensions=st.integers(1, 6))
def test_the_discrepancy_is_that_of_the_paper(seed: int, images: int, others: int, dimensions: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(images, dimensions)), generator.normal(1, 2, size=(others, dimensions))
    found = squared_discrepancy(first, second)
    assert found == pytest.approx(by_pairs(first, second), rel=1e-9, abs=1e-9)
    assert squared_discrepancy(second, first) == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_the_discrepancy_is_by_scikit_learns_kernel() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 50, 7))
    within = [polynomial_kernel(each)[~np.eye(50, dtype=bool)].mean() for each in (first, second)]
    expected = sum(within) - 2 * polynomial_kernel(first, second).mean()
    assert squared_discrepancy(first, second) == pytest.approx(expected, rel=1e-9)


def test_two_single_pictures_are_as_far_apart_as_the_kernel_says() -> None:
    first, second = np.array([1.0, 0.0]), np.array([1.0, 2.0])
    found = kernel_distance(np.tile(first, (9, 1)), np.tile(second, (9, 1)), seed=0)
    # (1/2 + 1)³ + (5/2 + 1)³ - 2 (1/2 + 1)³
    assert found == KernelDistance(pytest.approx(39.5), pytest.approx(0.0, abs=1e-12), 100, 4)


def test_a_shift_shows_in_the_first_three_moments() -> None:
    shift = 0.5
    generator = np.random.default_rng(1)
    reference, synthetic = generator.normal(size=(10_000, 1)), generator.normal(shift, size=(10_000, 1))
    found = kernel_distance(reference, synthetic, seed=0, subsets=20)
    # In one dimension the kernel is 1 + 3xy + 3x²y² + x³y³, so each moment counts by its squared difference.
    expected = 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2
    assert found.mean == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("images", [4, 20, 200])
def test_few_images_do_not_bias_it(images: int) -> None:
    generator = np.random.default_rng(2)
    found = [
        kernel_distance(*generator.normal(size=(2, images, 8)), seed=seed, subsets=2).mean
        for seed in range(100 + 4_000 // images)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert error < 0.1  # with equal images in the sums, 4 images come out 8 too high


def test_a_set_against_itself_is_below_zero_by_what_equal_images_share() -> None:
    sample = np.random.default_rng(3).normal(size=(500, 8))
    kernel = polynomial_kernel(sample)
    different = kernel[~np.eye(500, dtype=bool)].mean()
    expected = -2 * (kernel.diagonal().mean() - different) / 500
    assert squared_discrepancy(sample, sample) == pytest.approx(expected, rel=1e-9)
    found = kernel_distance(sample, sample, seed=0)
    assert abs(found.mean - expected) < found.standard_deviation


def test_subsets_differ_and_a_seed_does_not() -> None:
    reference, synthetic = np.random.default_rng(4).normal(size=(2, 60, 5))
    found = kernel_distance(reference, synthetic, seed=0, subsets=10)
    assert found.standard_deviation > 0
    assert found == kernel_distance(reference, synthetic, seed=0, subsets=10)
    assert found != kernel_distance(reference, synthetic, seed=1, subsets=10)


@pytest.mark.parametrize(("reference", "synthetic", "size"), [(3000, 2500, 1000), (3000, 1001, 500), (4, 3000, 2)])
def test_a_subset_has_at_most_half_of_a_set(reference: int, synthetic: int, size: int) -> None:
    features = np.random.default_rng(5).normal(size=(3000, 2))
    found = kernel_distance(features[:reference], features[:synthetic], seed=0, subsets=1)
    assert (found.subsets, found.subset_images) == (1, size)


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2018)
    found = kernel_distance(generator.normal(size=(100, 6)), generator.gamma(2, size=(80, 6)), seed=7)
    assert (found.mean, found.standard_deviation) == pytest.approx((162.21209027332722, 30.03426956222268), rel=1e-9)


def test_three_images_have_no_half_with_a_pair() -> None:
    with pytest.raises(InvalidRequest, match="There are 3 reference images, and this metric needs 4 or more"):
        kernel_distance(np.zeros((3, 2)), np.zeros((9, 2)), seed=0)
