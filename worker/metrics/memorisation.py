"""Whether a generator gives out images of its training set, in the manner of Meehan et al. 2020.

"A Non-Parametric Test to Detect Data-Copying in Generative Models" compares three samples: synthetic images may be near
to training images, but not nearer than other real images are. An image's distance to a set is that to its nearest image
there, sqrt(2 - 2 c) for a correlation c of `worker.metrics.shifted_correlation`: the Euclidean distance of images of
mean 0 and length 1. The measure of an image is the ratio of two distances,

    distance to the training set / distance to the held-out set.

It is 0 for a copy, and the ratio makes up for plain images being near to everything and rare ones to nothing, which the
distance alone, or a difference, does not. A held-out image has a ratio, too: its held-out set is the other ones. A
synthetic image counts as a copy if its ratio is below that of every held-out image. So a larger training set, nearer by
chance, is no evidence: it is as much nearer to held-out images.

Exact duplicates are dropped first: all but the first within a set, and held-out images that are training images.

What this cannot see:

* Copies of a part (one lung, a device), inverted ones, and those shifted by more than SHIFT pixels, rotated, scaled or
  warped.
* Copies that are further away than the nearest held-out image. One held-out image that is nearly a training image, such
  as the same picture in another compression or of the same patient, hides weak copies: look at `nearest_held_out`, and
  split by patient.
* With few held-out images chance alone makes some copies: `share_by_chance` says how many. None found among m images
  says little of rates below 1 / m.
* Identity: the other pictures of a training patient are not copies of one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from worker.contract.errors import InvalidRequest
from worker.metrics.shifted_correlation import NearestImages, OnBlock, nearest_images, query_blocks
from worker.sources.pixels import tile

WORST_PAIRS = 10
LEAST_HELD_OUT = 2
"""Different from each other and from training images; one alone has none to be compared with."""
LEAKED_BELOW = 0.4
"""A ratio that copies have, and hardly a held-out image: the lowest of 250 to 500 was 0.45 to 0.6 by good splits."""

SEARCHES = 3
"""For the nearest image of each: among the training images, a part of them, and the held-out ones."""

_LEAST_DISTANCE = 1e-6
"""Far above what rounding leaves between equal images, and below the distance of any others."""


@dataclass(frozen=True)
class Pair:
    """An image, its nearest training image, by their rows in the arrays given, and how near they are.

    `ratio` is this module's measure, 0 or more, lower is worse; `correlation` is that of the pair, in [-1, 1].
    """

    image: int
    training_image: int
    ratio: float
    correlation: float


@dataclass(frozen=True)
class Memorisation:
    """How many synthetic images are copies, and what is to be expected of a generator that copies nothing.

    `training_images` and `held_out_images` are counted without duplicates. `copies` are synthetic images with a ratio
    below that of `nearest_held_out`, and `share` is their share of `images`.

    `share_by_chance`: were the synthetic images real ones, 1 / (held_out_images + 1) of them would be expected there.
    `p_value`: then the lowest ratios of all would be those of k or more synthetic ones with the probability
    C(m, k) / C(m + n, k), k copies among m images beside n held-out ones. It is exact but for the one image less that
    a held-out image is compared with.

    `nearer_to_training` is the share of synthetic images that are nearer to a random part of the training set than to
    the held-out set, which has as many images. One half is expected; well above it, the generator leans on its training
    images, copies or not. `held_out_nearer_to_training` is the same share of held-out images.

    `worst` are the synthetic images with the lowest ratios, lowest first, copies or not. `warning` is a sentence if
    `nearest_held_out` looks like a leak.
    """

    images: int
    training_images: int
    held_out_images: int
    copies: int
    share: float
    share_by_chance: float
    p_value: float
    nearer_to_training: float
    held_out_nearer_to_training: float
    nearest_held_out: Pair
    worst: tuple[Pair, ...]
    warning: str | None


@dataclass(frozen=True)
class _Sets:
    """What images are compared with: `training` at `rows`, and at the rows `part`; and as many that are held out."""

    training: NDArray[np.uint8]
    rows: NDArray[np.int64]
    part: NDArray[np.int64]
    held_out: NDArray[np.uint8]


@dataclass(frozen=True)
class _Compared:
    """For each image its nearest training image, their correlation, and what follows; all (N,)."""

    training_images: NDArray[np.int64]
    correlations: NDArray[np.float64]
    ratios: NDArray[np.float64]
    nearer_to_training: NDArray[np.bool_]

    def pair(self, position: int, image: int) -> Pair:
        return Pair(
            image=image,
            training_image=int(self.training_images[position]),
            ratio=float(self.ratios[position]),
            correlation=float(self.correlations[position]),
        )


def memorisation(
    synthetic: NDArray[np.uint8],
    training: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    *,
    seed: int,
    training_rows: NDArray[np.int64] | None = None,
    held_out_rows: NDArray[np.int64] | None = None,
    on_block: OnBlock | None = None,
) -> Memorisation:
    """Look for the nearest training image of every synthetic and every held-out image.

    The work is (M + H) * N. For many images give samples of the synthetic and held-out ones, but all training images:
    a copy of one that is left out is not found.

    Args:
        synthetic: uint8 (M, S, S); equal ones count as often as there are.
        training: uint8 (N, S, S), all that the generator has seen; it may be mapped into memory, and is read in blocks.
        held_out: uint8 (H, S, S), real images that it has not seen, prepared in the same way. Of more than there are
            training images, as many are drawn.
        seed: draws the part of the training set for `nearer_to_training`.
        training_rows: those of `training` that are meant, int64, ascending; all if they are not given.
        held_out_rows: those of `held_out`, which may be the same array.
        on_block: told of the blocks of all searches together.

    Raises:
        InvalidRequest: without duplicates fewer than LEAST_HELD_OUT held-out images are left.
        ValueError: the sizes differ or are too small for the shifts, or there are no synthetic or no training images.
    """
    all_training = np.arange(len(training)) if training_rows is None else training_rows
    all_held_out = np.arange(len(held_out)) if held_out_rows is None else held_out_rows
    if not len(synthetic) or not len(all_training):
        raise ValueError(
            f"{len(synthetic)} synthetic and {len(all_training)} training images: there must be some of both"
        )
    chance = np.random.default_rng(seed)
    seen: set[bytes] = set()
    different = _first_seen(training, all_training, seen)
    compared_with = _some(_first_seen(held_out, all_held_out, seen), len(different), chance)
    if len(compared_with) < LEAST_HELD_OUT:
        raise InvalidRequest(
            f"Of {len(all_held_out)} held-out images {len(compared_with)} can be compared, without duplicates and "
            f"training images and up to the {len(different)} training images; at least {LEAST_HELD_OUT} are needed."
        )
    others = held_out[compared_with]
    sets = _Sets(training, all_training, _some(different, len(compared_with), chance), others)
    steps = _in_turn(on_block, [len(synthetic)] * SEARCHES + [len(others)] * SEARCHES)
    ours = _compared(synthetic, sets, steps)
    real = _compared(others, sets, steps, leave_own_out=True)

    lowest = int(real.ratios.argmin())
    copies = int(np.count_nonzero(ours.ratios < real.ratios[lowest]))
    nearest_held_out = real.pair(lowest, int(compared_with[lowest]))
    return Memorisation(
        images=len(synthetic),
        training_images=len(different),
        held_out_images=len(others),
        copies=copies,
        share=copies / len(synthetic),
        share_by_chance=1 / (len(others) + 1),
        # The hypergeometric probability that all of `copies` images drawn from both kinds are synthetic.
        p_value=float(stats.hypergeom.pmf(copies, len(synthetic) + len(others), len(synthetic), copies)),
        nearer_to_training=float(ours.nearer_to_training.mean()),
        held_out_nearer_to_training=float(real.nearer_to_training.mean()),
        nearest_held_out=nearest_held_out,
        worst=tuple(ours.pair(image, image) for image in np.argsort(ours.ratios, kind="stable")[:WORST_PAIRS].tolist()),
        warning=_leak(nearest_held_out),
    )


def worst_pairs_grid(
    worst: tuple[Pair, ...], synthetic: NDArray[np.uint8], training: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The pairs as a picture: synthetic images in the upper row, below each its nearest training image as it is.

    Args:
        worst: at least one pair.
        synthetic: uint8 (M, S, S), as given to `memorisation`, as are
        training: uint8 (N, S, S).

    Returns:
        uint8 (height, width), as `worker.sources.pixels.tile` makes it.
    """
    upper = synthetic[[pair.image for pair in worst]]
    lower = training[[pair.training_image for pair in worst]]
    return tile(np.concatenate([upper, lower]), columns=len(worst))


def _first_seen(images: NDArray[np.uint8], rows: NDArray[np.int64], seen: set[bytes]) -> NDArray[np.int64]:
    """Those rows whose images are not among those seen, which they join; by hash, so that few bytes are kept."""
    different = []
    for row in rows.tolist():
        digest = hashlib.blake2b(images[row].tobytes(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            different.append(row)
    return np.array(different, np.int64)


def _some(rows: NDArray[np.int64], count: int, chance: np.random.Generator) -> NDArray[np.int64]:
    """As many of the rows, drawn without replacement, or all if there are no more, in ascending order."""
    return rows if len(rows) <= count else np.sort(chance.choice(rows, count, replace=False))


def _in_turn(on_block: OnBlock | None, queries: Sequence[int]) -> Iterator[OnBlock | None]:
    """What each of several searches, for so many queries, is to call, for one to hear of all of them together."""
    *before, total = accumulate(map(query_blocks, queries), initial=0)
    for done in before:
        yield on_block and partial(_told_of_all, on_block, done, total)


def _told_of_all(on_block: OnBlock, before: int, total: int, done: int, _: int) -> None:
    on_block(before + done, total)


def _compared(
    images: NDArray[np.uint8], sets: _Sets, steps: Iterator[OnBlock | None], *, leave_own_out: bool = False
) -> _Compared:
    """SEARCHES of them."""
    nearest = nearest_images(images, sets.training, rows=sets.rows, on_block=next(steps))
    to_held_out = _distances(nearest_images(images, sets.held_out, leave_own_out=leave_own_out, on_block=next(steps)))
    to_part = _distances(nearest_images(images, sets.training, rows=sets.part, on_block=next(steps)))
    return _Compared(
        training_images=nearest.indices,
        correlations=nearest.correlations,
        ratios=_distances(nearest) / np.maximum(to_held_out, _LEAST_DISTANCE),
        nearer_to_training=to_part < to_held_out,
    )


def _distances(nearest: NearestImages) -> NDArray[np.float64]:
    distances = np.sqrt(2 - 2 * nearest.correlations)
    return np.where(distances < _LEAST_DISTANCE, 0, distances)


def _leak(nearest_held_out: Pair) -> str | None:
    if nearest_held_out.ratio >= LEAKED_BELOW:
        return None
    return (
        f"Held-out image {nearest_held_out.image} is as near to training image {nearest_held_out.training_image} as a "
        "copy would be, and copies that are further away were not counted. Are pictures of one patient on both sides?"
    )
