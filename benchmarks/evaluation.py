"""Evaluations: time and memory of every metric that needs no weights, and of the search for copies in a large set.

    python benchmarks/evaluation.py [--full] [--rounds N] [--json]

Metrics are taken as an evaluation takes them, each with its floor and of as few images as that has, over images that
are drawn. The search goes through training sets of growing size that are mapped into memory; `--full` takes it to
100,000 images.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import Report, options, rounds_of, timed
from memory import PeakMemory, own_megabytes
from numpy.typing import NDArray

from worker.measurement import over_features, over_images
from worker.metrics.features import PixelComponents
from worker.metrics.floor import floor
from worker.metrics.memorisation import memorisation
from worker.sources.phantom import Phantom
from worker.sources.pixels import fit_square

SIZE = 64
COMPARED = 2_048
"""Images of either kind: the default of an evaluation."""
LEARNT_FROM = 8_000
"""Training images that features are fitted on."""
DRAWN = 400
"""Phantoms, of which all images are mixed: to draw each would take longer than to measure it."""
SEARCHED_FOR = 2_000
"""Synthetic images, and as many held-out ones, as in an evaluation."""
TRAINING_SETS, MORE_TRAINING_SETS = (1_000, 10_000), (100_000,)
MIXED_AT_ONCE = 1_000

Images = NDArray[np.uint8]


class Mixtures:
    """Any number of different images: the mean of two phantoms, with noise."""

    def __init__(self) -> None:
        phantom = Phantom()
        self._drawn = np.stack([fit_square(phantom.image(row).read(), SIZE, "pad") for row in range(DRAWN)])

    def fill(self, images: Images, seed: int) -> Images:
        """Write mixtures into an array (N, SIZE, SIZE), which is returned."""
        chance = np.random.default_rng(seed)
        for first in range(0, len(images), MIXED_AT_ONCE):
            block = images[first : first + MIXED_AT_ONCE]
            one, other = (self._drawn[chance.integers(DRAWN, size=len(block))] for _ in range(2))
            grey = one / 2 + other / 2 + chance.normal(0, 4, block.shape)
            block[:] = np.round(grey.clip(0, 255))
        return images

    def make(self, count: int, seed: int) -> Images:
        """So many of them, in memory."""
        return self.fill(np.empty((count, SIZE, SIZE), np.uint8), seed)


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Of some work that is done so many times."""
    return statistics.median(timed(work)() for _ in range(rounds))


def measure_metrics(report: Report, mixtures: Mixtures, rounds: int) -> None:
    """Each metric, its floor, and the metric of as few images; the whole includes what features take."""
    real, synthetic = (mixtures.make(COMPARED, seed) for seed in (1, 2))
    training = mixtures.make(LEARNT_FROM, 3)
    before = own_megabytes()
    lines, sets = [], {}

    def extract() -> None:
        extractor = PixelComponents(training)
        sets["features"] = extractor(real), extractor(synthetic)

    with PeakMemory() as peak:
        lines.append(("features", median_seconds(extract, rounds)))
        for metrics, (ours, theirs) in (
            (over_features(0), sets["features"]),
            (over_images(0), (real, synthetic)),
        ):
            for name, metric in metrics.items():

                def take(metric=metric, ours=ours, theirs=theirs) -> None:
                    metric(ours, theirs)
                    few = floor(ours, metric, seed=0, images=COMPARED).images
                    metric(ours[:few], theirs[:few])

                lines.append((name, median_seconds(take, rounds)))
    lines.append(("all", sum(seconds for _, seconds in lines)))
    report.listing(f"{COMPARED:,} and {COMPARED:,} images of {SIZE}x{SIZE}", ("metric, with its floor", "s"), lines)
    report.fact("megabytes, at the most", round(peak.megabytes))
    report.fact("megabytes, before", round(before))


def measure_search(report: Report, mixtures: Mixtures, folder: Path, chosen: argparse.Namespace) -> None:
    """The search for copies in training sets of growing size, none of which is held in memory."""
    synthetic, held_out = (mixtures.make(SEARCHED_FOR, seed) for seed in (4, 5))
    lines, rounds = [], rounds_of(chosen, usual=1, full=1)
    for count in TRAINING_SETS + (MORE_TRAINING_SETS if chosen.full else ()):
        file = folder / f"{count}.npy"
        mixtures.fill(np.lib.format.open_memmap(file, "w+", np.uint8, (count, SIZE, SIZE)), 6).flush()
        training = np.load(file, mmap_mode="r")
        with PeakMemory() as peak:
            seconds = median_seconds(
                lambda training=training: memorisation(synthetic, training, held_out, seed=0), rounds
            )
        lines.append((f"{count:,}", seconds, peak.megabytes))
    title = f"The nearest training images of {SEARCHED_FOR:,} synthetic and {SEARCHED_FOR:,} held-out images"
    report.listing(title, ("training images", "s", "megabytes, at the most"), lines)


def main() -> None:
    chosen = options((__doc__ or "").splitlines()[0]).parse_args()
    report = Report("evaluation", as_json=chosen.json)
    mixtures = Mixtures()
    measure_metrics(report, mixtures, rounds_of(chosen, usual=1, full=3))
    with tempfile.TemporaryDirectory() as folder:
        measure_search(report, mixtures, Path(folder), chosen)
    report.finish()


if __name__ == "__main__":
    main()
