"""The quality guard: are images by the fast paths as near to the real ones as by plain computation, at equal steps?

    python benchmarks/quality.py [--seeds N] [--only PATHS] [--without PATHS]

For each dataset, seed and variant a training of the same recipe; then the Fréchet distance and the sliced Wasserstein
distance of its images to the real ones. The guard holds if the mean distance of the fast variant is above that of the
plain one by no more than the seeds of the plain one differ among themselves. If it does not, `--only` and `--without`,
as in `--only one_generator_pass --without toom_cook,small_kernels`, compare other sets of fast paths in place of the
usual one, to find the culprit.
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import real_images
from builders import all_of, build_trainer
from harness import Report, at_least, options, timed
from PIL import Image
from real_images import Pixels

from worker.contract.fast_paths import FastPath
from worker.devices import device_names
from worker.draws import latent_points
from worker.fast_paths import PLAIN, FastPaths, for_training
from worker.metrics.features import PixelComponents
from worker.metrics.frechet_distance import frechet_distance
from worker.metrics.sliced_wasserstein import sliced_wasserstein_distance
from worker.sources.pixels import tile

RECIPE = {"width": 0.5}
"""The default one, with half the channels for a CPU."""
SEEDS = 3
IMAGES = 1000
"""Synthetic ones of each training, and real ones they are compared with."""
METRICS = ("Fréchet", "sliced Wasserstein")
COLUMNS = 8
"""Of a grid."""

Distances = dict[str, list[float]]
"""By metric, one for each seed."""


def datasets(shared: Path) -> dict[str, tuple[str, Pixels]]:
    """By name the family and the real images, of all parts and classes."""
    small, large = real_images.pneumonia(shared)["train"], real_images.chests(shared)
    return {
        "pneumoniamnist, 28x28": ("minuscule28", small.images),
        "nih-cxr14-128, 64x64": ("dcgan64", np.concatenate([part.images for part in large.values()])),
    }


def train(name: str, images: Pixels, paths: FastPaths, seed: int, steps: int, batch_size: int) -> tuple[Pixels, float]:
    """Synthetic images of a training, and the seconds it took."""
    trainer = build_trainer(
        name,
        batch_size,
        hyperparameters=RECIPE,
        population=all_of(images),
        seed=seed,
        precision="float32",
        fast_paths=paths,
    )
    seconds = timed(lambda: [trainer.advance(1) for _ in range(steps)])()
    points = latent_points(seed, 0, IMAGES, trainer.family.latent_size)
    drawn = np.concatenate([trainer.sample(part) for part in np.array_split(points, 20)])
    return np.round(drawn * 255).astype(np.uint8), seconds


def distances_of_variants(
    report: Report, title: str, name: str, images: Pixels, variants: Mapping[str, FastPaths], chosen: argparse.Namespace
) -> dict[str, Distances]:
    """Train each variant by each seed on the same images."""
    shuffled = np.random.default_rng(0).permutation(len(images))
    real = images[shuffled[:IMAGES]]
    features = PixelComponents(real)
    distances: dict[str, Distances] = {variant: {metric: [] for metric in METRICS} for variant in variants}
    lines, rows = [], []
    for variant, paths in variants.items():
        for seed in range(chosen.seeds):
            drawn, seconds = train(name, images, paths, seed, chosen.steps, chosen.batch)
            far = (
                frechet_distance(features(real), features(drawn)).distance,
                sliced_wasserstein_distance(real, drawn, seed=0).mean,
            )
            for metric, distance in zip(METRICS, far, strict=True):
                distances[variant][metric].append(distance)
            lines.append((variant, seed, *far, seconds))
        rows.append(drawn[:COLUMNS])
    report.listing(title, ("variant", "seed", *METRICS, "seconds"), lines)
    if chosen.grids:
        chosen.grids.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile(np.concatenate(rows), COLUMNS)).save(chosen.grids / f"quality-{name}.png")
    return distances


@dataclass(frozen=True)
class Verdict:
    """A variant's mean distance beside that of the plain one, whose own seeds differ by `spread`."""

    mean: float
    plain: float
    spread: float

    @property
    def difference(self) -> float:
        return self.mean - self.plain

    @property
    def holds(self) -> bool:
        return self.difference <= self.spread

    def __str__(self) -> str:
        if abs(self.difference) <= self.spread:
            return "within the spread"
        return "better than the spread" if self.holds else "WORSE than the spread"


def judged(report: Report, title: str, distances: Mapping[str, Distances]) -> list[str]:
    """Show a verdict on each variant; returns those for which the guard does not hold, in words."""
    lines, failures = [], []
    plain, *others = distances
    for metric in METRICS:
        reference = distances[plain][metric]
        for variant in others:
            verdict = Verdict(
                statistics.mean(distances[variant][metric]),
                statistics.mean(reference),
                max(reference) - min(reference),
            )
            numbers = (verdict.mean, verdict.plain, verdict.difference, verdict.spread)
            lines.append((metric, variant, *numbers, str(verdict)))
            if not verdict.holds:
                failures.append(f"{variant}, {title}, {metric}")
    columns = ("distance", "variant", "mean", "plain's mean", "difference", "spread of plain's seeds", "verdict")
    report.listing(f"Verdict, {title}", columns, lines)
    return failures


def variants_of(chosen: argparse.Namespace) -> dict[str, FastPaths]:
    """The plain variant, and those to be compared with it."""
    usual = for_training(None, device_names()[0])
    others = {f"only {' + '.join(sorted(paths))}": paths for paths in chosen.only}
    others |= {f"without {' + '.join(sorted(paths))}": usual - paths for paths in chosen.without}
    return {"plain": PLAIN} | (others or {"fast": usual})


def fast_paths(names: str) -> FastPaths:
    """Reads an option such as `toom_cook,small_kernels`."""
    try:
        return frozenset(FastPath(name) for name in names.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: there are {', '.join(FastPath)}") from error


def read_arguments() -> argparse.Namespace:
    """The options of every benchmark, and those of this one."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder of the real data")
    parser.add_argument("--seeds", type=at_least(2), default=SEEDS, help="trainings of each variant")
    parser.add_argument("--steps", type=at_least(1), default=250)
    parser.add_argument("--batch", type=at_least(1), default=32)
    parser.add_argument("--grids", type=Path, help="the folder for a picture of each dataset, a row for each variant")
    for option, help_text in (("--only", "these fast paths and no other"), ("--without", "the usual ones but these")):
        parser.add_argument(option, type=fast_paths, action="append", default=[], metavar="PATHS", help=help_text)
    return parser.parse_args()


def main() -> None:
    chosen = read_arguments()
    variants = variants_of(chosen)
    report = Report("quality", as_json=chosen.json)
    report.fact("recipe", f"{json.dumps(RECIPE)}, {chosen.steps} steps, batch {chosen.batch}")
    failures = []
    for title, (name, images) in datasets(chosen.shared).items():
        distances = distances_of_variants(report, title, name, images, variants, chosen)
        failures += judged(report, title, distances)
    report.finish()
    if failures:
        sys.exit(
            f"The guard does not hold ({'; '.join(failures)}): run it with --only and the name of each fast path, to "
            "see which one it is."
        )


if __name__ == "__main__":
    main()
