"""Planted copies are found and little else is; the numbers are those of the definition, written down image by image."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

from worker.contract.errors import InvalidRequest
from worker.metrics.memorisation import WORST_PAIRS, Memorisation, Pair, memorisation, worst_pairs_grid
from worker.metrics.shifted_correlation import SHIFT, SMOOTHING
from worker.sources.phantom import Phantom
from worker.sources.pixels import SEPARATOR, fit_square

Images = NDArray[np.uint8]

SYNTHETIC = 1000
COPIES_OF_EACH_KIND = 5
DRAWN_SIDE = 32
"""Pixels; larger pictures take long to search, and copies are found more easily in them."""


def grey(values: NDArray[np.floating]) -> Images:
    return np.asarray(np.floor(values + 0.5).clip(0, 255), np.uint8)


def shifted(image: Images, down: int, right: int) -> Images:
    """What moves in from beyond the edge is the edge."""
    height, width = image.shape
    padded = np.pad(image, SHIFT, mode="edge")
    return padded[SHIFT - down :, SHIFT - right :][:height, :width]


def noisy(image: Images, chance: Generator, deviation: float) -> Images:
    return grey(image + chance.normal(0, deviation, image.shape))


CHANGES: dict[str, Callable[[Images, Generator], Images]] = {
    "exact": lambda image, _: image,
    "noisy": lambda image, chance: noisy(image, chance, 6),
    "shifted by one": lambda image, _: shifted(image, 1, -1),
    "shifted by two": lambda image, _: shifted(image, 0, 2),
    "mirrored": lambda image, _: image[:, ::-1],
    "less contrast": lambda image, _: grey(0.6 * image + 40),
    "other gamma": lambda image, _: grey(255 * (image / 255) ** 1.4),
    "all at once": lambda image, chance: noisy(grey(0.7 * shifted(image[:, ::-1], -2, 1) + 30), chance, 4),
}


@dataclass(frozen=True)
class Planted:
    """What was found in a thousand images, the first of which are copies: those of each change of `sources` in turn."""

    result: Memorisation
    sources: list[int]

    def found(self, change: str) -> int:
        """How many copies of a kind were found, and with them the image that they are copies of."""
        first = list(CHANGES).index(change) * COPIES_OF_EACH_KIND
        flagged = {pair.image: pair.training_image for pair in self.result.worst[: self.result.copies]}
        return sum(flagged.get(first + index) == source for index, source in enumerate(self.sources))

    @property
    def false_alarms(self) -> int:
        flagged = [pair.image for pair in self.result.worst[: self.result.copies]]
        return sum(image >= len(CHANGES) * COPIES_OF_EACH_KIND for image in flagged)


def plant(training: Images, held_out: Images, others: Images) -> Planted:
    chance = np.random.default_rng(0)
    sources = chance.choice(len(training), COPIES_OF_EACH_KIND, replace=False).tolist()
    copies = [change(training[source], chance) for change in CHANGES.values() for source in sources]
    synthetic = np.concatenate([np.stack(copies), others[: SYNTHETIC - len(copies)]])
    assert len(synthetic) == SYNTHETIC
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.metrics.memorisation.WORST_PAIRS", SYNTHETIC)
        return Planted(memorisation(synthetic, training, held_out, seed=0), sources)


@pytest.fixture(scope="module")
def among_drawn() -> Planted:
    """Radiographs drawn for one patient each; the others are such ones, and as generators blend them."""
    source = Phantom()
    table = source.table
    _, first_rows = np.unique(table.patients, return_index=True)
    rows = first_rows[table.flags[first_rows] == 0][:500].tolist()
    images = np.stack([fit_square(source.image(row).read(), DRAWN_SIDE, "pad") for row in rows])
    training, held_out, unseen = np.split(images, [200, 350])
    chance = np.random.default_rng(1)
    weights = chance.uniform(0.2, 0.8, (SYNTHETIC, 1, 1))
    one, other = chance.integers(len(unseen), size=(2, SYNTHETIC))
    blends = grey(weights * unseen[one] + (1 - weights) * unseen[other])
    return plant(training, held_out, np.concatenate([unseen, blends]))


@pytest.fixture(scope="module")
def among_real(shared_data: Path) -> Planted:
    """Real radiographs of 28 pixels on a side; the others are such ones that are not trained on."""
    path = shared_data / "pneumoniamnist.npz"
    if not path.is_file():
        pytest.skip("needs the real radiographs in ../shared/data/pneumoniamnist.npz")
    with np.load(path) as archive:
        train, validation = archive["train_images"], archive["val_images"]
    train = np.random.default_rng(2).permutation(np.unique(train, axis=0))
    return plant(train[:1500], validation, train[1500:])


@pytest.mark.parametrize("change", CHANGES)
def test_every_copy_is_found_among_drawn_radiographs(among_drawn: Planted, change: str) -> None:
    assert among_drawn.found(change) == COPIES_OF_EACH_KIND


@pytest.mark.parametrize("change", CHANGES)
def test_every_copy_is_found_among_real_radiographs(among_real: Planted, change: str) -> None:
    assert among_real.found(change) == COPIES_OF_EACH_KIND


@pytest.mark.parametrize("where", ["among_drawn", "among_real"])
def test_little_else_is_taken_for_a_copy(where: str, request: pytest.FixtureRequest) -> None:
    planted: Planted = request.getfixturevalue(where)
    assert planted.false_alarms <= math.ceil(SYNTHETIC * planted.result.share_by_chance)
    assert planted.result.p_value < 0.01
    assert planted.result.warning is None


def noise(count: int, side: int = 8, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)


def vectors(windows: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Windows (N, side, side), smoothed, as vectors of mean 0 and length 1."""
    smooth = ndimage.gaussian_filter(windows.astype(float), SMOOTHING, axes=(1, 2)).reshape(len(windows), -1)
    centred = smooth - smooth.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def distance(image: Images, other: Images) -> float:
    """The module's distance: the least one between any window and the middle, as vectors."""
    side = len(image) - 2 * SHIFT
    windows = sliding_window_view(np.stack([image, image[:, ::-1]]), (side, side), axis=(1, 2)).reshape(-1, side, side)
    middle = vectors(other[np.newaxis, SHIFT:-SHIFT, SHIFT:-SHIFT])
    return float(np.linalg.norm(vectors(windows) - middle, axis=1).min())


def test_numbers_are_those_of_the_definition() -> None:
    training, held_out, synthetic = noise(8, 12, 1), noise(8, 12, 2), noise(30, 12, 3)
    synthetic[4] = noisy(training[5], np.random.default_rng(0), 40)
    result = memorisation(synthetic, training, held_out, seed=0)

    ours = np.array([[distance(image, other) for other in training] for image in synthetic])
    theirs = np.array([min(distance(image, other) for other in held_out) for image in synthetic])
    ratios = ours.min(axis=1) / theirs
    held_out_nearest = np.array([min(distance(image, other) for other in training) for image in held_out])
    among_themselves = np.array(
        [
            min(distance(image, other) for other in np.delete(held_out, row, axis=0))
            for row, image in enumerate(held_out)
        ]
    )
    held_out_ratios = held_out_nearest / among_themselves
    assert (result.images, result.training_images, result.held_out_images) == (30, 8, 8)
    assert [pair.image for pair in result.worst] == np.argsort(ratios)[:WORST_PAIRS].tolist()
    np.testing.assert_allclose([pair.ratio for pair in result.worst], np.sort(ratios)[:WORST_PAIRS])
    assert result.worst[0].image == 4
    for pair in result.worst:
        assert pair.training_image == ours[pair.image].argmin()
        assert pair.correlation == pytest.approx(1 - ours[pair.image].min() ** 2 / 2)
    assert result.nearest_held_out.image == held_out_ratios.argmin()
    assert result.nearest_held_out.ratio == pytest.approx(held_out_ratios.min())
    assert result.copies == np.count_nonzero(ratios < held_out_ratios.min()) > 0
    assert result.share == result.copies / 30
    assert result.share_by_chance == 1 / 9
    assert result.p_value == pytest.approx(math.comb(30, result.copies) / math.comb(38, result.copies))
    # As many training as held-out images: the part that is compared is the whole.
    assert result.nearer_to_training == np.mean(ours.min(axis=1) < theirs)
    assert result.held_out_nearer_to_training == np.mean(held_out_nearest < among_themselves)


def test_training_images_are_all_copies() -> None:
    training = noise(20)
    result = memorisation(training, training, noise(20, seed=1), seed=0)
    assert (result.copies, result.share, result.nearer_to_training) == (20, 1, 1)
    assert [(pair.image, pair.training_image, pair.ratio) for pair in result.worst] == [
        (row, row, 0) for row in range(WORST_PAIRS)
    ]
    assert result.p_value == pytest.approx(1 / math.comb(40, 20))


def test_held_out_images_are_none() -> None:
    held_out = noise(20, seed=1)
    result = memorisation(held_out, noise(20), held_out, seed=0)
    assert (result.copies, result.share, result.p_value, result.nearer_to_training) == (0, 0, 1, 0)


def test_real_images_are_called_copies_no_more_often_than_by_chance() -> None:
    results = [
        memorisation(images[:10], images[10:25], images[25:], seed=0)
        for images in (noise(34, seed=seed) for seed in range(100))
    ]
    shares = [result.share for result in results]
    assert results[0].share_by_chance == 0.1
    assert 0.03 < np.mean(shares) < 0.1 + 3 * np.std(shares) / 10
    # With this many repeats, three standard deviations above the level are 0.115.
    assert np.mean([result.p_value <= 0.05 for result in results]) < 0.115


def test_the_seed_draws_the_part_that_is_compared_and_nothing_else() -> None:
    synthetic, training, held_out = noise(30), noise(60, seed=1), noise(10, seed=2)
    first, again, other = (memorisation(synthetic, training, held_out, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert first == replace(
        other,
        nearer_to_training=first.nearer_to_training,
        held_out_nearer_to_training=first.held_out_nearer_to_training,
    )


def test_duplicates_change_nothing_but_indices() -> None:
    synthetic, training, held_out = noise(12), noise(10, seed=1), noise(6, seed=2)
    plain = memorisation(synthetic, training, held_out, seed=0)
    doubled = memorisation(
        synthetic,
        np.concatenate([training, training[:4]]),
        np.concatenate([training[:3], held_out[:1], held_out, training[-1:]]),
        seed=0,
    )
    assert (doubled.training_images, doubled.held_out_images) == (10, 6)
    assert doubled.worst == plain.worst
    # The first of the held-out images stands at 3 now, the others behind the second one of it.
    assert doubled.nearest_held_out.image == (plain.nearest_held_out.image + 4 if plain.nearest_held_out.image else 3)
    assert replace(doubled, nearest_held_out=plain.nearest_held_out) == plain


def test_rows_of_one_array_are_told_by_their_places_in_it() -> None:
    synthetic, training, held_out = noise(12), noise(10, seed=1), noise(6, seed=2)
    plain = memorisation(synthetic, training, held_out, seed=0)
    training_rows, held_out_rows = np.arange(1, 31, 3), np.arange(0, 18, 3)
    images = noise(40, seed=3)
    images[training_rows], images[held_out_rows] = training, held_out
    among_all = memorisation(
        synthetic, images, images, seed=0, training_rows=training_rows, held_out_rows=held_out_rows
    )

    def placed(pair: Pair, image: int) -> Pair:
        return replace(pair, image=image, training_image=training_rows[pair.training_image])

    assert among_all == replace(
        plain,
        nearest_held_out=placed(plain.nearest_held_out, held_out_rows[plain.nearest_held_out.image]),
        worst=tuple(placed(pair, pair.image) for pair in plain.worst),
    )


def test_blocks_of_all_searches_are_told_together() -> None:
    told: list[tuple[int, int]] = []
    memorisation(noise(20), noise(20, seed=1), noise(5, seed=2), seed=0, on_block=lambda *numbers: told.append(numbers))
    done = [each for each, _ in told]
    assert {blocks for _, blocks in told} == {3 * 2 + 3 * 1}
    assert done == sorted(done)
    assert set(done) == set(range(10))


def test_of_too_many_held_out_images_some_are_drawn() -> None:
    result = memorisation(noise(5), noise(10, seed=1), noise(40, seed=2), seed=0)
    assert (result.training_images, result.held_out_images) == (10, 10)


def test_a_held_out_image_that_is_nearly_a_training_image_is_told() -> None:
    training, held_out = noise(12, seed=1), noise(12, seed=2)
    held_out[7] = training[3][:, ::-1]
    result = memorisation(noise(5), training, held_out, seed=0)
    assert (result.nearest_held_out.image, result.nearest_held_out.training_image) == (7, 3)
    assert result.warning is not None
    assert "Held-out image 7 is as near to training image 3" in result.warning


def test_a_result_is_json() -> None:
    held_out = noise(5, seed=2)
    result = memorisation(np.concatenate([held_out, noise(1)]), noise(9, seed=1), held_out, seed=0)
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["held_out_images"] == 5


def test_golden() -> None:
    synthetic, training = noise(40, 16), noise(20, 16, 1)
    synthetic[0] = noisy(training[2], np.random.default_rng(0), 30)
    result = memorisation(synthetic, training, noise(15, 16, 2), seed=0)
    assert result.copies == 2
    assert result.p_value == pytest.approx(0.525253, abs=1e-6)
    assert result.nearer_to_training == result.held_out_nearer_to_training == 0.4
    assert (result.nearest_held_out.image, result.nearest_held_out.training_image) == (6, 12)
    assert result.nearest_held_out.ratio == pytest.approx(0.909723, abs=1e-6)
    assert [pair.image for pair in result.worst] == [0, 2, 31, 37, 32, 1, 23, 10, 34, 21]
    assert (result.worst[0].ratio, result.worst[0].correlation) == pytest.approx((0.334815, 0.934434), abs=1e-6)


def test_pairs_are_shown_one_above_the_other() -> None:
    training = noise(20, 16)
    synthetic = training[::-1]
    result = memorisation(synthetic, training, noise(20, 16, 1), seed=0)
    grid = worst_pairs_grid(result.worst, synthetic, training)
    assert grid.shape == (2 * 16 + SEPARATOR, WORST_PAIRS * 16 + (WORST_PAIRS - 1) * SEPARATOR)
    assert grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[:16], grid[-16:])
    np.testing.assert_array_equal(grid[:16, -16:], synthetic[WORST_PAIRS - 1])


def test_too_few_held_out_images_are_refused() -> None:
    training = noise(5, seed=1)
    for held_out in (training, noise(1), np.concatenate([training, noise(1), noise(1)]), training[:0]):
        with pytest.raises(InvalidRequest, match="at least 2 are needed"):
            memorisation(noise(3), training, held_out, seed=0)


@pytest.mark.parametrize(
    ("synthetic", "training", "sentence"),
    [
        (noise(0), noise(3), "must be some of both"),
        (noise(3), noise(0), "must be some of both"),
        (noise(3, 9), noise(3), "squares of one size"),
    ],
)
def test_what_cannot_be_compared_is_refused(synthetic: Images, training: Images, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        memorisation(synthetic, training, noise(3, seed=2), seed=0)
