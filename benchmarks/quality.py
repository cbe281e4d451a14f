"""The quality guard: are images by the fast paths as near to the real ones as by plain computation, at equal steps?

For each dataset, seed and variant a training of the same recipe; then the Fréchet distance and the sliced Wasserstein
distance of its images to the real ones, and a grid with a row for each variant. A fast path passes if its distances lie
within what seeds differ.
"""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import Report, options
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table
from scipy import linalg

from worker.devices import open_strategy
from worker.draws import latent_points
from worker.fast_paths import DEFAULTS, PLAIN, FastPaths
from worker.models.registry import family
from worker.sources.pixels import fit_square, tile
from worker.sources.registry import SourceCatalog
from worker.trainer import Plan, Population, Trainer

RECIPE = {"width": 0.5, "learning_rate_d": 4e-4, "learning_rate_g": 2e-4, "ema_decay": 0.99}
"""Of short runs: twice the default rates."""
SEEDS = (0, 1, 2)
VARIANTS: dict[str, FastPaths] = {"plain": PLAIN, "fast": DEFAULTS["CPU"]}
IMAGES = 1000
"""Synthetic ones of each training, and real ones they are compared with."""
COMPONENTS = 64
PROJECTIONS = 512

Pixels = NDArray[np.uint8]


class PrincipalComponents:
    """Fixed features: the first principal components of the real images, whose pixels are in [0, 1]."""

    def __init__(self, images: Pixels) -> None:
        flat = _flat(images)
        self._mean = flat.mean(axis=0)
        self._axes = linalg.svd(flat - self._mean, full_matrices=False)[2][:COMPONENTS]

    def __call__(self, images: Pixels) -> NDArray[np.float64]:
        """(images, COMPONENTS)."""
        return (_flat(images) - self._mean) @ self._axes.T


def frechet_distance(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Between two sets of features, taken as normal (Heusel et al. 2017, eq. 6)."""
    first, second = np.cov(ours, rowvar=False), np.cov(theirs, rowvar=False)
    root = linalg.sqrtm(first @ second).real
    return float(((ours.mean(0) - theirs.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def sliced_wasserstein_distance(ours: Pixels, theirs: Pixels) -> float:
    """Mean over fixed random directions of pixel space of the distance between sorted projections, times 1,000."""
    directions = np.random.default_rng(0).normal(size=(ours[0].size, PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    projected = [np.sort(_flat(images) @ directions, axis=0) for images in (ours, theirs)]
    return float(1000 * np.abs(projected[0] - projected[1]).mean())


def _flat(images: Pixels) -> NDArray[np.float64]:
    return images.reshape(len(images), -1) / 255


def datasets(shared: Path) -> dict[str, tuple[str, Pixels]]:
    """By name the family and the real images."""
    with np.load(shared / "pneumoniamnist.npz") as arrays:
        small = arrays["train_images"]
    source = SourceCatalog(shared).get("nih-cxr14-128")
    rows = np.flatnonzero(source.table.present)
    large = np.stack([fit_square(source.image(int(row)).read(), 64, "pad") for row in rows])
    return {"pneumoniamnist, 28x28": ("minuscule28", small), "nih-cxr14-128, 64x64": ("dcgan64", large)}


def train(name: str, images: Pixels, paths: FastPaths, seed: int, steps: int, batch_size: int) -> tuple[Pixels, float]:
    """Synthetic images of a training, and the seconds it took."""
    kind = family(name)
    plan = Plan(batch_size=batch_size, seed=seed, precision="float32", fast_paths=paths)
    population = Population(images, np.arange(len(images)))
    trainer = Trainer(kind, kind.configure("default", RECIPE), open_strategy(1), population, plan)
    began = time.perf_counter()
    for _ in range(steps):
        trainer.advance(1)
    seconds = time.perf_counter() - began
    points = latent_points(seed, 0, IMAGES, kind.latent_size)
    drawn = np.concatenate([trainer.sample(part) for part in np.array_split(points, 20)])
    return np.round(drawn * 255).astype(np.uint8), seconds


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder of the real data")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--grids", type=Path, default=Path("docs/benchmarks"), help="where to put the grids")
    arguments = parser.parse_args()
    report = Report("quality", as_json=arguments.json)
    report.fact("recipe", f"{json.dumps(RECIPE)}, {arguments.steps} steps, batch {arguments.batch}")
    for title, (name, images) in datasets(arguments.shared).items():
        compare_variants(report, title, name, images, arguments.steps, arguments.batch, arguments.grids)
    report.finish()


def compare_variants(
    report: Report, title: str, name: str, images: Pixels, steps: int, batch_size: int, grids: Path
) -> None:
    chosen = np.random.default_rng(0).permutation(len(images))
    real = images[chosen[:IMAGES]]
    features = PrincipalComponents(real)
    table = Table("", "seed", "Fréchet", "sliced Wasserstein", "seconds", title=title, title_justify="left")
    distances: dict[str, list[tuple[float, float]]] = {}
    rows: list[Pixels] = []
    for variant, paths in VARIANTS.items():
        for seed in SEEDS:
            drawn, seconds = train(name, images, paths, seed, steps, batch_size)
            far = frechet_distance(features(drawn), features(real)), sliced_wasserstein_distance(drawn, real)
            distances.setdefault(variant, []).append(far)
            table.add_row(variant, str(seed), f"{far[0]:.3g}", f"{far[1]:.3g}", f"{seconds:.0f}")
            report.fact(f"{title}, {variant}, seed {seed}", f"Fréchet {far[0]:.4g}, sliced Wasserstein {far[1]:.4g}")
        rows.append(drawn[:8])
    report.show(table)
    report.fact(title, verdict(distances))
    grids.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tile(np.concatenate(rows), 8)).save(grids / f"quality-{name}.png")


def verdict(distances: dict[str, Sequence[tuple[float, float]]]) -> dict[str, str]:
    """For each variant how far its mean lies from that of the plain one, beside what seeds differ."""
    told = {}
    for metric, index in (("Fréchet", 0), ("sliced Wasserstein", 1)):
        by_seed = {variant: [each[index] for each in seeds] for variant, seeds in distances.items()}
        plain = by_seed["plain"]
        for variant, seeds in by_seed.items():
            apart = statistics.mean(seeds) - statistics.mean(plain)
            spread = max(max(plain) - min(plain), max(seeds) - min(seeds))
            mean = statistics.mean(seeds)
            told[f"{metric}, {variant}"] = f"mean {mean:.3g}, {apart:+.3g}; seeds differ by {spread:.3g}"
    return told


if __name__ == "__main__":
    main()
