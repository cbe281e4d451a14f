"""Changed copies of real images, the usual remedy where there are few: rotated, and flipped, moved or scaled.

The scheme is that of Frid-Adar et al. 2018 (arXiv:1803.01229, III-A): an image is rotated, and of each rotated one
there are flips, translations, scalings and itself, 30·(1+3+7+5) = 480 variants. There is no shear, and grey values are
left alone. A variant is sampled once, by one transform of the image, with bicubic interpolation as in the paper. It is
Pillow's, sharp enough that nothing blurs: of chest X-rays at 28 and 64 pixels, gradients keep 99 % of their strength (a
cubic spline 96 %, bilinear 84 %), at 20 % more error than the spline has.

The paper's lesions were cut from larger scans, so that there was tissue beyond the border; here the image is all there
is. Black is never filled in: its corners would show the angle to a classifier, and a GAN would learn to draw them. What
is, each preset says.

One core made 14,000 variants of 28x28 pixels a second, and 3,800 of 64x64.

No more than NumPy and Pillow is needed, so that the front end, too, can show what a preset does to an image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from worker.contract.requests import ClassicalPreset
from worker.sources.base import GreyImage
from worker.sources.pixels import encode_png, fit_square, tile

HORIZONTAL, VERTICAL, BOTH = (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)
"""Flips, by the signs that they give to (x, y)."""
KERNEL_REACH = 3
"""Pixels beyond a position that bicubic interpolation reads, at most, and one more for rounding."""
CHUNK_PIXELS = 2**19
"""With their borders, of the images that are changed at once: memory does not grow with their number."""
CORNERS = np.array([(-0.5, -0.5, 1), (-0.5, 0.5, 1), (0.5, 0.5, 1), (0.5, -0.5, 1)])
"""Of a variant, as a transform takes them; in the order in which Pillow names those of a quadrilateral."""
SHEET_PIXELS = 64
"""On a sheet, larger images are reduced to it, and smaller ones are enlarged, whole times, to less."""

Transforms = NDArray[np.float64]
"""(N, 2, 3): from (x, y, 1) in a variant to where in the image that is, both in sides from the middle, y downwards."""


@dataclass(frozen=True)
class Preset:
    """How images are changed: by a rotation, and then by a flip, a translation, a scaling, or nothing more."""

    degrees: tuple[float, float]
    """Anticlockwise, uniform between these."""
    flips: tuple[tuple[float, float], ...]
    translation: float
    """Along either axis at most, in sides of the image. Not in whole pixels: of small images, there would be equals."""
    scales: tuple[float, float]
    """Below 1 smaller, above 1 larger; uniform between these."""
    border: Literal["edge", "symmetric"]
    """What comes in from beyond it: its last pixels, drawn out, or the image mirrored."""
    rotations: int = 30
    """The first is by 0°, so that the image itself is among its variants."""
    translations: int = 7
    scalings: int = 5

    @property
    def variants_of_rotation(self) -> int:
        """The rotated image itself, its flips, its translations, its scalings."""
        return 1 + len(self.flips) + self.translations + self.scalings

    @property
    def variants(self) -> int:
        """Of an image, itself among them."""
        return self.rotations * self.variants_of_rotation


PRESETS: Mapping[ClassicalPreset, Preset] = {
    # The heart lies on the left and the diaphragm below: a flip would show another finding (situs inversus). What comes
    # in is narrow, and the air or body at the border goes on; mirrored, there would be a second arm beside the first.
    "chest": Preset(degrees=(-10.0, 10.0), flips=(), translation=0.05, scales=(0.9, 1.1), border="edge"),
    # There a lesion of diameter d is shifted by up to 0.1 d, 4 pixels at most, and shown with 0.1 d to 0.4 d of tissue
    # around it. We take an image for one with the mean of that, 1.5 d wide: 0.1 d is 1/15 of it, 4 pixels are 1/16 of
    # 64, and it is scaled by 1.5/1.8 to 1.5/1.2. What comes in fills whole corners: mirrored it has the texture of what
    # is beside it, drawn out it would be stripes.
    "paper": Preset(
        degrees=(0.0, 180.0),
        flips=(HORIZONTAL, VERTICAL, BOTH),
        translation=1 / 16,
        scales=(1.5 / 1.8, 1.5 / 1.2),
        border="symmetric",
    ),
}


def variants(image: NDArray[np.uint8], preset: ClassicalPreset, seed: int | Sequence[int]) -> NDArray[np.uint8]:
    """Every variant of an image, rotation by rotation.

    Args:
        image: uint8 (S, S).
        preset: How it is changed.
        seed: Draws angles, translations and scalings; may be several numbers, such as a seed and the image's place.

    Returns:
        uint8 (variants, S, S), first the image itself, bit for bit. Of a rotation there are the rotated image, its
        flips, its translations and its scalings, in this order.
    """
    chosen = PRESETS[preset]
    copies = np.broadcast_to(image, (chosen.variants, *image.shape))
    return _transformed(copies, every_transform(chosen, np.random.default_rng(seed)), chosen)


def augmented(images: NDArray[np.uint8], preset: ClassicalPreset, chance: Generator) -> NDArray[np.uint8]:
    """One variant of each image, as if drawn from all that it may have: angles and amounts are new each time.

    Args:
        images: uint8 (N, S, S).
        preset: How they are changed.
        chance: In the same state it draws the same for as many images, whatever they show.

    Returns:
        uint8 (N, S, S).
    """
    chosen = PRESETS[preset]
    return _transformed(images, random_transforms(chosen, len(images), chance), chosen)


def contact_sheet(image: NDArray[np.uint8], preset: ClassicalPreset) -> bytes:
    """All variants of an image (S, S) as a PNG, each rotation with what follows it in a row."""
    size = min(len(image), SHEET_PIXELS)
    shown = variants(fit_square(GreyImage(image), size, "pad"), preset, seed=0)
    enlarged = shown.repeat(SHEET_PIXELS // size, axis=1).repeat(SHEET_PIXELS // size, axis=2)
    return encode_png(tile(enlarged, PRESETS[preset].variants_of_rotation))


def every_transform(preset: Preset, chance: Generator) -> Transforms:
    """The transforms of all variants of an image, in their order; the first is the identity."""
    degrees = chance.uniform(*preset.degrees, preset.rotations)
    degrees[0] = 0
    kinds = np.tile(np.arange(preset.variants_of_rotation), preset.rotations)
    return _transforms(preset, np.repeat(degrees, preset.variants_of_rotation), kinds, chance)


def random_transforms(preset: Preset, count: int, chance: Generator) -> Transforms:
    """Transforms of so many variants, each drawn as one of all those of an image of its own."""
    numbers = chance.integers(preset.variants, size=count)
    rotations, kinds = np.divmod(numbers, preset.variants_of_rotation)
    degrees = chance.uniform(*preset.degrees, count)
    return _transforms(preset, np.where(rotations == 0, 0, degrees), kinds, chance)


def _transforms(
    preset: Preset, degrees: NDArray[np.float64], kinds: NDArray[np.int64], chance: Generator
) -> Transforms:
    """`kinds` are places among the variants of a rotation."""
    flips, count = len(preset.flips), len(kinds)
    signs = np.array([(1.0, 1.0), *preset.flips])[np.where(kinds <= flips, kinds, 0)]
    moved = (kinds > flips) & (kinds <= flips + preset.translations)
    shifts = chance.uniform(-preset.translation, preset.translation, (count, 2)) * moved[:, np.newaxis]
    scaled = kinds > flips + preset.translations
    scales = np.where(scaled, chance.uniform(*preset.scales, count), 1)

    # A variant's pixel looks for its place in the image: first what came last is undone, then the rotation.
    radians = np.deg2rad(degrees)
    cosines, sines = np.cos(radians), np.sin(radians)
    unrotate = np.stack([np.stack([cosines, -sines], axis=-1), np.stack([sines, cosines], axis=-1)], axis=-2)
    linear = unrotate * (signs / scales[:, np.newaxis])[:, np.newaxis, :]
    return np.concatenate([linear, -unrotate @ shifts[..., np.newaxis]], axis=-1)


def _transformed(images: NDArray[np.uint8], transforms: Transforms, preset: Preset) -> NDArray[np.uint8]:
    """Images (N, S, S), each under its own transform: uint8 (N, S, S)."""
    side = images.shape[1]
    corners = side * (0.5 + CORNERS @ transforms.transpose(0, 2, 1))
    beyond = max(0, -corners.min(initial=0), corners.max(initial=0) - side)
    width = math.ceil(beyond) + KERNEL_REACH
    chunk = max(1, CHUNK_PIXELS // (side + 2 * width) ** 2)
    changed = np.empty(images.shape, np.uint8)
    for first in range(0, len(images), chunk):
        some = slice(first, first + chunk)
        bordered = np.pad(images[some], ((0, 0), (width, width), (width, width)), mode=preset.border)
        changed[some] = _sampled(bordered, corners[some] + width, side)
    return changed


def _sampled(images: NDArray[np.uint8], corners: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """What of each image (N, B, B) is within its corners (N, 4, 2), in pixels from its own: uint8 (N, side, side)."""
    count, bordered, _ = images.shape
    # One below the other: as a mesh, Pillow samples all of them in one call. Bytes it would round down.
    column = Image.fromarray(images.reshape(-1, bordered).astype(np.float32))
    corners = corners + np.arange(count)[:, np.newaxis, np.newaxis] * (0, bordered)
    mesh = [
        ((0, side * place, side, side * (place + 1)), tuple(quadrilateral))
        for place, quadrilateral in enumerate(corners.reshape(count, -1).tolist())
    ]
    sampled = column.transform((side, side * count), Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)
    grey = np.asarray(sampled, np.float32).reshape(count, side, side)
    return np.rint(grey).clip(0, 255).astype(np.uint8)
