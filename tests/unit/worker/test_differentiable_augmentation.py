"""Against DiffAugment as its authors publish it, written in numpy for images in [-1, 1], one image at a time."""

from collections.abc import Collection

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.differentiable_augmentation import CHANGES, GREY, NUMBERS, augment
from worker.models.base import Augmentation

Image = NDArray[np.float64]

EACH: list[Collection[Augmentation]] = [[name] for name in CHANGES]


def published(image: Image, numbers: NDArray[np.float64], chosen: Collection[Augmentation]) -> Image:
    """`numbers` are what the authors draw from [0, 1), whole numbers by rounding down."""
    image, side = 2 * image - 1, len(image)
    if "brightness" in chosen:
        image = image + (numbers[0] - 0.5)
    if "contrast" in chosen:
        image = (image - image.mean()) * (numbers[1] + 0.5) + image.mean()
    if "translation" in chosen:
        most = int(side * 0.125 + 0.5)
        down, right = (int(number * (2 * most + 1)) - most for number in numbers[2:4])
        moved = np.zeros_like(image)
        for row, column in np.ndindex(image.shape):
            if 0 <= row + down < side and 0 <= column + right < side:
                moved[row, column] = image[row + down, column + right]
        image = moved
    if "cutout" in chosen:
        length = int(side * 0.5 + 0.5)
        middle = [int(number * (side + (1 - length % 2))) for number in numbers[4:6]]
        mask = np.ones_like(image)
        for row, column in np.ndindex(length, length):
            where = np.clip(np.array([row, column]) + middle - length // 2, 0, side - 1)
            mask[tuple(where)] = 0
        image = image * mask
    return (image + 1) / 2


@pytest.mark.parametrize("chosen", [*EACH, [], ["cutout", "translation", "contrast", "brightness"]], ids=str)
@pytest.mark.parametrize("side", [7, 8, 28])
@settings(max_examples=10)
@given(seed=st.integers(0, 999))
def test_each_image_is_changed_as_published(side: int, chosen: Collection[Augmentation], seed: int) -> None:
    random = np.random.default_rng(seed)
    images, numbers = random.random((3, side, side, 1), np.float32), random.random((3, NUMBERS), np.float32)
    ours = augment(tf.constant(images), tf.constant(numbers), chosen).numpy()
    assert ours.dtype == np.float32
    for image, own, expected in zip(images, numbers, ours, strict=True):
        np.testing.assert_allclose(expected[..., 0], published(image[..., 0], own, chosen), atol=1e-6)


@pytest.mark.parametrize("number", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_ends_of_a_range_are_within_it(number: float) -> None:
    images = tf.random.stateless_uniform((1, 9, 9, 1), seed=(1, 2))
    changed = augment(images, tf.fill((1, NUMBERS), number), list(CHANGES)).numpy()
    expected = published(images[0, ..., 0].numpy(), np.full(NUMBERS, number, np.float32), list(CHANGES))
    np.testing.assert_allclose(changed[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("chosen", EACH, ids=str)
def test_gradients_flow_to_the_pixels_that_are_left(chosen: Collection[Augmentation]) -> None:
    random = np.random.default_rng(3)
    images = tf.constant(random.random((2, 8, 8, 1), np.float32))
    numbers = tf.constant(random.random((2, NUMBERS), np.float32))
    onto = random.random((2, 8, 8, 1), np.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        projection = tf.reduce_sum(augment(images, numbers, chosen) * onto)
    gradient = tape.gradient(projection, images).numpy()
    # Every change is affine in the pixels, so that a difference is a derivative.
    for image, row, column in ((0, 0, 0), (0, 3, 4), (1, 7, 7), (1, 2, 6)):
        nudged = images.numpy()
        nudged[image, row, column] += 1
        changed = published(nudged[image, ..., 0], numbers[image].numpy(), chosen)
        before = published(images[image, ..., 0].numpy(), numbers[image].numpy(), chosen)
        expected = ((changed - before) * onto[image, ..., 0]).sum()
        assert gradient[image, row, column, 0] == pytest.approx(expected, abs=1e-4)


def test_what_is_left_empty_is_grey() -> None:
    images = tf.zeros((1, 8, 8, 1))
    for name in ("translation", "cutout"):
        assert set(np.unique(augment(images, tf.zeros((1, NUMBERS)), [name]))) == {0.0, GREY}


def test_compiled_it_is_the_same() -> None:
    random = np.random.default_rng(4)
    images = tf.constant(random.random((2, 8, 8, 1), np.float32))
    numbers = tf.constant(random.random((2, NUMBERS), np.float32))
    compiled = tf.function(lambda *given: augment(*given, list(CHANGES)), jit_compile=True)
    np.testing.assert_allclose(compiled(images, numbers), augment(images, numbers, list(CHANGES)), atol=1e-6)
