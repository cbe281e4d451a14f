"""Precision and recall against the paper's definition, and on sets whose answer is plain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from worker.contract.errors import InvalidRequest
from worker.metrics.features import Features
from worker.metrics.precision_recall import PrecisionRecall, precision_recall

SEEDS = st.integers(0, 2**32 - 1)


def share_within(points: Features, centres: Features, k: int) -> float:
    """Eq. 1 and 2 of Kynkäänniemi et al. 2019, a point at a time."""
    radii = [np.sort(cdist([centre], centres)[0])[k] for centre in centres]  # the nearest one is the centre itself
    hits = [
        any(np.linalg.norm(point - centre) <= radius for centre, radius in zip(centres, radii, strict=True))
        for point in points
    ]
    return sum(hits) / len(hits)


@settings(max_examples=30)
@given(seed=SEEDS, images=st.integers(6, 25), others=st.integers(6, 25), k=st.integers(1, 5))
def test_they_are_those_of_the_paper(seed: int, images: int, others: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    # On a grid, many points lie on the surface of a ball, without rounding.
    reference, synthetic = generator.integers(0, 4, (images, 3)) * 1.0, generator.integers(1, 5, (others, 3)) * 1.0
    found = precision_recall(reference, synthetic, neighbours=k)
    assert found.precision == pytest.approx(share_within(synthetic, reference, k))
    assert found.recall == pytest.approx(share_within(reference, synthetic, k))
    swapped = precision_recall(synthetic, reference, neighbours=k)
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)


def test_a_set_is_all_of_itself() -> None:
    sample = np.random.default_rng(0).normal(size=(200, 10))
    assert precision_recall(sample, sample) == PrecisionRecall(1.0, 1.0, 3)


def test_sets_that_are_far_apart_share_nothing() -> None:
    reference, synthetic = np.random.default_rng(1).normal(size=(2, 100, 4))
    assert precision_recall(reference, synthetic + 100) == PrecisionRecall(0.0, 0.0, 3)


def test_noise_around_the_mean_is_precise_and_recalls_nothing() -> None:
    generator = np.random.default_rng(2)
    reference = generator.normal(size=(500, 16))
    found = precision_recall(reference, reference.mean(axis=0) + 0.01 * generator.normal(size=(500, 16)))
    assert found.precision > 0.99
    assert found.recall < 0.01


def test_half_of_the_kinds_halves_the_recall_alone() -> None:
    generator = np.random.default_rng(3)
    kinds = np.repeat([[0.0], [100.0]], 400, axis=0)
    found = precision_recall(kinds + generator.normal(size=(800, 2)), generator.normal(size=(800, 2)))
    assert found.precision > 0.95
    assert 0.45 < found.recall <= 0.5


def test_a_golden_number() -> None:
    generator = np.random.default_rng(2019)
    found = precision_recall(generator.normal(size=(100, 6)), generator.gamma(2, size=(80, 6)) - 1.5)
    assert (found.precision, found.recall) == (0.6625, 0.8)


def test_the_kth_neighbour_needs_k_others() -> None:
    with pytest.raises(InvalidRequest, match="There are 3 synthetic images, and this metric needs 4 or more"):
        precision_recall(np.zeros((9, 2)), np.zeros((3, 2)))
