"""Presets against their definitions, transforms by their matrices, and pixels against their formula."""

import io
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types
from scipy.stats import chisquare, kstest  # type: ignore[import-untyped]

from worker.classical_augmentation import (
    PRESETS,
    Preset,
    Transforms,
    augmented,
    contact_sheet,
    every_transform,
    random_transforms,
    variants,
)
from worker.contract.requests import ClassicalPreset

seeds = st.integers(0, 2**32 - 1)
each_preset = pytest.mark.parametrize("name", ["chest", "paper"])


def textured(side: int) -> NDArray[np.uint8]:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).uniform(0, 255, (side, side)), 1.5, mode="wrap")
    return np.rint(255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def by_rotation(preset: Preset, seed: int) -> tuple[Transforms, Transforms]:
    """Rotations (R, 2, 3), and what follows each of them (R, variants of a rotation, 2, 3)."""
    every = every_transform(preset, np.random.default_rng(seed)).reshape(preset.rotations, -1, 2, 3)
    return every[:, 0], np.linalg.solve(every[:, :1, :, :2], every)


def angles(transforms: Transforms) -> NDArray[np.float64]:
    """Degrees, anticlockwise."""
    return np.rad2deg(np.arctan2(transforms[:, 1, 0], transforms[:, 0, 0]))


def test_the_presets_have_as_many_variants_as_their_steps_make() -> None:
    paper = PRESETS["paper"]
    assert (paper.rotations, len(paper.flips), paper.translations, paper.scalings) == (30, 3, 7, 5)
    assert paper.variants == 30 * (1 + 3 + 7 + 5) == 480
    assert PRESETS["chest"].variants == 30 * (1 + 7 + 5)


@each_preset
@pytest.mark.parametrize("side", [28, 64])
def test_variants_of_a_textured_image_are_all_different_and_one_is_the_image(name: ClassicalPreset, side: int) -> None:
    image = textured(side)
    made = variants(image, name, seed=5)
    assert (made.shape, made.dtype) == ((PRESETS[name].variants, side, side), np.uint8)
    assert len(np.unique(made.reshape(len(made), -1), axis=0)) == len(made)
    assert [np.array_equal(variant, image) for variant in made].index(True) == 0


@each_preset
@given(seed=seeds)
def test_no_transform_shears(name: ClassicalPreset, seed: int) -> None:
    chance = np.random.default_rng(seed)
    for transforms in (every_transform(PRESETS[name], chance), random_transforms(PRESETS[name], 50, chance)):
        linear = transforms[:, :, :2]
        # Of a similarity, both axes are equally long and at right angles.
        products = linear @ linear.transpose(0, 2, 1)
        squares = np.abs(np.linalg.det(linear))[:, np.newaxis, np.newaxis]
        np.testing.assert_allclose(products, squares * np.eye(2), atol=1e-12)


@each_preset
@given(seed=seeds)
def test_each_rotation_is_followed_by_the_steps_of_the_preset(name: ClassicalPreset, seed: int) -> None:
    preset = PRESETS[name]
    rotations, followed = by_rotation(preset, seed)
    np.testing.assert_array_equal(rotations[0], np.eye(2, 3))
    assert not rotations[:, :, 2].any()
    low, high = preset.degrees
    assert ((angles(rotations) >= low - 1e-9) & (angles(rotations) <= high + 1e-9)).all()

    itself, flips, translations, scalings = np.split(
        followed, np.cumsum([1, len(preset.flips), preset.translations]), axis=1
    )
    mirrors = np.array([np.diag(signs) for signs in preset.flips]).reshape(-1, 2, 2)
    np.testing.assert_allclose(itself, np.broadcast_to(np.eye(2, 3), itself.shape), atol=1e-12)
    np.testing.assert_allclose(flips[..., :2], np.broadcast_to(mirrors, flips[..., :2].shape), atol=1e-12)
    np.testing.assert_allclose(
        translations[..., :2], np.broadcast_to(np.eye(2), translations[..., :2].shape), atol=1e-12
    )
    assert (np.abs(translations[..., 2]) <= preset.translation + 1e-12).all()
    factors = 1 / scalings[..., 0, 0]
    assert ((factors >= preset.scales[0]) & (factors <= preset.scales[1] + 1e-12)).all()
    np.testing.assert_allclose(scalings[..., :2], np.eye(2) / factors[..., np.newaxis, np.newaxis], atol=1e-12)
    for unmoved in (flips, scalings):
        np.testing.assert_allclose(unmoved[..., 2], 0, atol=1e-12)


@given(seed=seeds)
def test_a_chest_is_never_mirrored_nor_turned_by_more_than_ten_degrees(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for transforms in (every_transform(PRESETS["chest"], chance), random_transforms(PRESETS["chest"], 200, chance)):
        assert (np.linalg.det(transforms[:, :, :2]) > 0).all()
        assert np.abs(angles(transforms)).max() <= 10 + 1e-9


def test_the_angles_of_the_paper_are_uniform() -> None:
    found = np.concatenate([angles(by_rotation(PRESETS["paper"], seed)[0])[1:] for seed in range(40)])
    assert kstest(found, "uniform", args=(0, 180)).pvalue > 0.01


def test_random_variants_are_as_frequent_as_among_all_of_an_image() -> None:
    drawn = random_transforms(PRESETS["paper"], 16_000, np.random.default_rng(0))
    moved = drawn[:, :, 2].any(axis=1)
    determinants = np.linalg.det(drawn[:, :, :2])
    scaled = np.abs(np.abs(determinants) - 1) > 1e-9
    mirrored = determinants < 0
    # The flip of both axes is half a turn: it is counted among those that are only rotated.
    counted = [moved.sum(), scaled.sum(), mirrored.sum(), (~moved & ~scaled & ~mirrored).sum()]
    assert sum(counted) == len(drawn)
    assert chisquare(counted, [7_000, 5_000, 2_000, 2_000]).pvalue > 0.01


def test_an_angle_turns_an_image_anticlockwise_and_a_flip_comes_after_it() -> None:
    transforms = every_transform(PRESETS["paper"], np.random.default_rng(2))
    place = 5 * 16
    angle = angles(transforms[place : place + 1])[0]
    image = np.zeros((65, 65), np.uint8)
    image[31:34, 55:58] = 255  # to the right of the middle
    rotated, flipped = variants(image, "paper", seed=2)[[place, place + 1]]
    down, right = np.array(ndimage.center_of_mass(rotated)) - 32
    assert np.rad2deg(np.arctan2(-down, right)) == pytest.approx(angle, abs=1)
    np.testing.assert_array_equal(flipped, rotated[:, ::-1])


def cubic(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of Keys 1981, "Cubic convolution interpolation", with a = -1."""
    x = np.abs(distances)
    return np.select([x <= 1, x < 2], [x**3 - 2 * x**2 + 1, -(x**3) + 5 * x**2 - 8 * x + 4], 0.0)


@pytest.mark.parametrize(("name", "border"), [("chest", "edge"), ("paper", "symmetric")])
def test_pixels_are_those_of_cubic_convolution(name: ClassicalPreset, border: Literal["edge", "symmetric"]) -> None:
    image, side = textured(20), 20
    bordered = np.pad(image.astype(np.float64), side, mode=border)
    pixels = np.arange(3 * side)
    rows, columns = (np.indices((side, side)) + 0.5) / side - 0.5
    transforms = every_transform(PRESETS[name], np.random.default_rng(9))[::5]
    for transform, made in zip(transforms, variants(image, name, seed=9)[::5], strict=True):
        places = np.einsum("ij,jrc->irc", transform, np.stack([columns, rows, np.ones_like(rows)]))
        across, down = cubic((side * (places + 1.5) - 0.5)[..., np.newaxis] - pixels)
        expected = np.einsum("rci,ij,rcj->rc", down, bordered, across).clip(0, 255)
        assert np.abs(made - expected).max() <= 0.5 + 1e-3


@each_preset
def test_nothing_black_comes_in_and_grey_values_stay(name: ClassicalPreset) -> None:
    grey = np.full((28, 28), 200, np.uint8)
    assert (variants(grey, name, seed=0) == 200).all()
    checks = np.where(np.indices((28, 28)).sum(axis=0) // 4 % 2, 255, 0).astype(np.uint8)
    made = variants(checks, name, seed=0)
    assert made.min() == 0  # bicubic interpolation goes beyond both, and would wrap round
    assert made.max() == 255
    assert np.abs(made.mean(axis=(1, 2)) - checks.mean()).max() < 20


@each_preset
def test_the_seed_decides(name: ClassicalPreset) -> None:
    image = textured(16)
    made = variants(image, name, seed=3)
    np.testing.assert_array_equal(made, variants(image, name, seed=3))
    for other in (4, (3, 1)):
        same = (made == variants(image, name, other)).all(axis=(1, 2))
        # The image itself and, without an angle, its flips.
        assert same.nonzero()[0].tolist() == list(range(1 + len(PRESETS[name].flips)))


@each_preset
def test_augmented_images_are_variants_of_their_own_and_the_same_for_the_same_chance(name: ClassicalPreset) -> None:
    images = np.stack([textured(16)] * 300)
    drawn = augmented(images, name, np.random.default_rng(1))
    assert (drawn.shape, drawn.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(drawn, augmented(images, name, np.random.default_rng(1)))
    chance = np.random.default_rng(1)
    np.testing.assert_array_equal(drawn, augmented(images, name, chance))
    assert (drawn != augmented(images, name, chance)).any(axis=(1, 2)).mean() > 0.9
    # What an image becomes does not depend on what others show, nor on how many are changed at once.
    images[1:] = 0
    np.testing.assert_array_equal(augmented(images, name, np.random.default_rng(1))[0], drawn[0])


def test_many_images_are_changed_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    image = textured(28)
    together = variants(image, "paper", seed=0)
    monkeypatch.setattr("worker.classical_augmentation.CHUNK_PIXELS", 1)
    np.testing.assert_array_equal(variants(image, "paper", seed=0), together)


def test_no_images_are_augmented_to_none() -> None:
    assert augmented(np.empty((0, 8, 8), np.uint8), "paper", np.random.default_rng(0)).shape == (0, 8, 8)


def test_variants_stay_what_they_were() -> None:
    # A release that makes others breaks every training that is to go on.
    drawn = augmented(np.stack([textured(16)] * 8), "paper", np.random.default_rng(7))
    np.testing.assert_allclose(drawn[:, 3, 11].astype(int), GOLDEN_PIXELS, atol=1)


@pytest.mark.parametrize(("side", "tile"), [(20, 60), (64, 64), (100, 64)])
def test_a_sheet_has_a_row_for_each_rotation(side: int, tile: int) -> None:
    for name, columns in (("paper", 16), ("chest", 13)):
        sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(textured(side), name))))
        line = 2
        assert sheet.shape == (30 * (tile + line) - line, columns * (tile + line) - line)


GOLDEN_PIXELS = [110, 118, 134, 159, 137, 181, 116, 108]
