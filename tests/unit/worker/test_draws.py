import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from worker.draws import (
    augmentation_numbers,
    class_batches,
    codes_in_turn,
    latent_batches,
    latent_points,
    member_batches,
    real_batches,
    variant_chance,
)

seeds = st.integers(0, 2**32 - 1)
steps = st.integers(1, 10_000_000)


@given(seed=seeds, first=st.integers(0, 1_000_000), count=st.integers(1, 8), offset=st.integers(0, 7))
def test_a_latent_point_depends_on_seed_and_index_alone(seed: int, first: int, count: int, offset: int) -> None:
    index = first + min(offset, count - 1)
    many = latent_points(seed, first, count, 5)
    np.testing.assert_array_equal(many[index - first], latent_points(seed, index, 1, 5)[0])


def test_latent_points_are_uniform_between_minus_one_and_one() -> None:
    points = latent_points(3, 0, 200, 100)
    assert points.shape == (200, 100)
    assert points.dtype == np.float32
    counts, _ = np.histogram(points, bins=10, range=(-1, 1))
    assert counts.sum() == points.size
    # Three standard deviations of a binomial count, about 127.
    np.testing.assert_allclose(counts, 2000, atol=3 * np.sqrt(20_000 * 0.1 * 0.9))


@given(seed=seeds, step=steps, population=st.integers(1, 1000))
def test_a_steps_batches_are_the_same_each_time_and_within_range(seed: int, step: int, population: int) -> None:
    chosen = real_batches(seed, step, (2, 3), population)
    np.testing.assert_array_equal(chosen, real_batches(seed, step, (2, 3), population))
    assert chosen.shape == (2, 3)
    assert chosen.numpy().min() >= 0
    assert chosen.numpy().max() < population
    np.testing.assert_array_equal(latent_batches(seed, step, (2, 3, 4)), latent_batches(seed, step, (2, 3, 4)))


@given(seed=seeds, step=steps)
def test_steps_seeds_and_purposes_do_not_share_numbers(seed: int, step: int) -> None:
    shape = (1, 1, 6)
    draws = [
        latent_batches(seed, step, shape).numpy(),
        latent_batches(seed, step + 1, shape).numpy(),
        latent_batches((seed + 1) % 2**32, step, shape).numpy(),
        latent_points(seed, step, 1, 6),
        2 * augmentation_numbers(seed, step, shape).numpy() - 1,
        variant_chance(seed, step).uniform(-1, 1, 6).astype(np.float32),
        variant_chance(seed, step + 1).uniform(-1, 1, 6).astype(np.float32),
    ]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


def test_batches_are_drawn_with_replacement_from_the_whole_population() -> None:
    chosen = real_batches(0, 1, (1, 4096), 64)
    assert set(chosen.numpy().ravel().tolist()) == set(range(64))


@given(seed=seeds, step=steps)
def test_a_steps_augmentations_are_the_same_each_time_and_within_range(seed: int, step: int) -> None:
    numbers = augmentation_numbers(seed, step, (2, 3, 2, 6))
    np.testing.assert_array_equal(numbers, augmentation_numbers(seed, step, (2, 3, 2, 6)))
    assert numbers.shape == (2, 3, 2, 6)
    assert numbers.numpy().min() >= 0
    assert numbers.numpy().max() < 1


@settings(max_examples=50)
@given(seed=seeds, step=steps, sizes=st.lists(st.integers(1, 10_000_000), min_size=1, max_size=8))
def test_members_are_of_the_classes_that_they_are_drawn_for(seed: int, step: int, sizes: list[int]) -> None:
    codes = class_batches(seed, step, (2, 16), len(sizes))
    positions = member_batches(seed, step, codes, sizes).numpy()
    first = np.cumsum([0, *sizes])
    np.testing.assert_array_equal(np.searchsorted(first, positions, side="right") - 1, codes)
    np.testing.assert_array_equal(positions, member_batches(seed, step, codes, sizes))


def test_classes_and_their_members_are_drawn_equally_often_however_skewed_they_are() -> None:
    sizes, of_step = (1, 4, 45), 100
    drawn = []
    for step in range(1, 101):
        codes = class_batches(11, step, (1, of_step), len(sizes))
        drawn.append(member_batches(11, step, codes, sizes).numpy().ravel())
    counted = np.bincount(np.concatenate(drawn), minlength=sum(sizes))
    expected = np.concatenate([np.full(size, 100 * of_step / len(sizes) / size) for size in sizes])
    # By chance, as good a fit or a worse one comes in one of a hundred seeds or more.
    assert chisquare(counted, expected).pvalue > 0.01


def test_codes_in_turn_begin_anew_after_the_last_class() -> None:
    assert codes_in_turn(3, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert codes_in_turn(0, 7) is None


def test_the_numbers_stay_what_they_were() -> None:
    # A release that draws other numbers from the same seed breaks every stored seed.
    assert real_batches(7, 1, (1, 6), 1000).numpy().tolist() == GOLDEN_INDICES
    assert class_batches(7, 1, (1, 6), 10).numpy().tolist() == GOLDEN_CLASSES
    assert member_batches(7, 1, tf.constant([[0, 1, 1]]), (10, 1000)).numpy().tolist() == GOLDEN_MEMBERS
    np.testing.assert_allclose(latent_batches(7, 1, (1, 1, 3)).numpy().ravel(), GOLDEN_LATENTS, atol=1e-7)
    np.testing.assert_allclose(latent_points(7, 0, 1, 3).ravel(), GOLDEN_POINT, atol=1e-7)
    np.testing.assert_allclose(augmentation_numbers(7, 1, (3,)), GOLDEN_AUGMENTATION, atol=1e-7)
    np.testing.assert_allclose(variant_chance(7, 1).uniform(size=3), GOLDEN_VARIANTS, atol=1e-7)


GOLDEN_INDICES = [[811, 765, 639, 886, 810, 93]]
GOLDEN_CLASSES = [[4, 4, 6, 4, 9, 2]]
GOLDEN_MEMBERS = [[4, 968, 649]]
GOLDEN_LATENTS = [-0.67194104, 0.69401479, -0.54391932]
GOLDEN_AUGMENTATION = [0.17722940, 0.55358648, 0.72331923]
GOLDEN_VARIANTS = [0.58445851, 0.15277628, 0.31962152]
GOLDEN_POINT = [0.74414688, -0.40926924, -0.15980464]
