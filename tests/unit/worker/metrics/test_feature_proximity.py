"""Nearness to training images against distances written down pair by pair."""

import numpy as np
import pytest

from worker.contract.errors import InvalidRequest
from worker.metrics.feature_proximity import FeatureProximity, feature_proximity
from worker.metrics.features import Features

NO_PAIRS = np.empty((0, 3)), np.empty((0, 3))


def normal(count: int, seed: int) -> Features:
    return np.random.default_rng(seed).normal(size=(count, 3))


def compared(synthetic: Features, training: Features, held_out: Features) -> FeatureProximity:
    return feature_proximity(synthetic, training, held_out, NO_PAIRS)


def test_numbers_are_those_of_the_definition() -> None:
    synthetic, training, held_out = normal(15, 0), normal(20, 1), normal(12, 2)
    pairs = synthetic[:4], training[3:7]
    result = feature_proximity(synthetic, training, held_out, pairs)
    ours, theirs = (
        np.array([min(np.linalg.norm(image - other) for other in training) for image in images])
        for images in (synthetic, held_out)
    )
    assert result.training_images == 20
    assert result.synthetic == pytest.approx(np.median(ours))
    assert result.held_out == pytest.approx(np.median(theirs))
    assert result.nearer_than_held_out == pytest.approx(np.mean([[far > near for near in ours] for far in theirs]))
    assert result.worst_pairs == pytest.approx([np.linalg.norm(one - other) for one, other in zip(*pairs, strict=True)])


def test_copies_are_always_nearer_and_strangers_never() -> None:
    training, held_out = normal(20, 1), normal(12, 2)
    copies = compared(training[:5], training, held_out)
    assert (copies.synthetic, copies.nearer_than_held_out) == (pytest.approx(0, abs=1e-7), 1)
    assert compared(normal(5, 3) + 100, training, held_out).nearer_than_held_out == 0


def test_held_out_images_are_as_near_as_themselves() -> None:
    held_out = normal(12, 2)
    assert compared(held_out, normal(20, 1), held_out).nearer_than_held_out == 0.5


def test_a_duplicate_among_held_out_images_decides_nothing() -> None:
    training, held_out = normal(200, 1), normal(60, 2)
    leaked = np.concatenate([held_out, training[:1]])
    synthetic = normal(60, 3)
    plain, other = (compared(synthetic, training, each) for each in (held_out, leaked))
    assert other.nearer_than_held_out == pytest.approx(plain.nearer_than_held_out, abs=0.02)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="There are 0 synthetic images"):
        compared(normal(0, 0), normal(5, 1), normal(5, 2))
