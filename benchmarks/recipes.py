"""What each option of a training does to its images: recipes beside each other, at equal steps, by several seeds.

    python benchmarks/recipes.py run [--subject NAME] [--recipe NAME] [--seed N] [--steps N] [--threads N]
    python benchmarks/recipes.py tables
    python benchmarks/recipes.py grids

A run is one training of a recipe by a seed, and all that is measured of its images. It is a file in docs/quality/runs,
which says what was run, and one that is there is not done again, so that `run` can be stopped and called once more.
Two of them, each with a thread and seeds of its own (`--threads 1 --seed 0`), get more done on two cores than one.
`tables` prints the tables of docs/quality.md, `grids` draws its pictures.
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import real_images
import tensorflow as tf
from builders import all_of, build_trainer
from harness import at_least
from PIL import Image, ImageDraw, ImageFont
from real_images import PNEUMONIA_CLASSES, Part, Pixels
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from worker import classifier
from worker.contract.checkpoints import LearntClasses
from worker.distortions import DISTORTIONS, distorted
from worker.draws import latent_points
from worker.metrics.frechet_distance import frechet_distance
from worker.metrics.precision_recall import precision_recall
from worker.models import registry
from worker.population import Population
from worker.sources.pixels import tile
from worker.trainer import Trainer

RESULTS = Path("docs/quality")
FLOOR = "real-images"
"""What real images come to in place of synthetic ones, as a recipe."""
WIDTH = 0.5
"""Of the networks, for a CPU."""
DRAWN = 1000
"""Synthetic images of each class that distances are taken of."""
LEARNT_FROM = 2000
"""Synthetic images of each class that a classifier is taught by."""
DRAWN_AT_ONCE, STEPS_AT_ONCE = 100, 20
FEATURES_FROM = 250
"""Real images that features are learnt from, each under every distortion."""
FEATURES = classifier.Recipe(epochs=3, optimizer="adam")
TAUGHT = classifier.Recipe(epochs=12, optimizer="adam", balance="oversampling")
TABLES = (("Fréchet", "precision", "recall"), ("told from real", "AUC", "balanced accuracy"))
"""What stands side by side."""
GRID_COLUMNS, GRID_ROWS = 12, 2
"""Of each recipe, half of each class."""
TIMES, NAME_HEIGHT, NAME_SIZE = 2, 22, 14
"""Pixels of a picture's names, and how much larger the images below them are."""

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters over those of a preset; `per_class`: a network for each class in place of one for all."""

    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "default"
    per_class: bool = False


RECIPES: Mapping[str, Recipe] = {
    "reference": Recipe(preset="reference"),
    "default": Recipe(),
    "half-the-rates": Recipe({"learning_rate_d": 2e-4, "learning_rate_g": 1e-4, "ema_decay": 0.995}),
    "twice-the-rates": Recipe({"learning_rate_d": 8e-4, "learning_rate_g": 4e-4}),
    "not-averaged": Recipe({"ema_decay": 0.0}),
    "network-per-class": Recipe(per_class=True),
    "hinge": Recipe({"loss": "hinge"}),
    "lsgan": Recipe({"loss": "lsgan"}),
    "r1": Recipe({"r1_weight": 1.0}),
    "spectral-norm": Recipe({"spectral_norm": True}),
    "diffaugment": Recipe({"diff_augment": ["brightness", "contrast", "translation", "cutout"]}),
    "diffaugment-translation": Recipe({"diff_augment": ["translation"]}),
}


@dataclass(frozen=True)
class Subject:
    """A collection, and the family that learns it: the conditional variant, where there are several classes.

    Classifiers are tested on the parts `held_out`; the first of them gives the floor.
    """

    name: str
    family: str
    classes: tuple[str, ...]
    train: Part
    held_out: Mapping[str, Part]
    batch_size: int

    @property
    def is_labelled(self) -> bool:
        return len(self.classes) > 1

    @property
    def recipes(self) -> tuple[str, ...]:
        """Those that are worth their time: of large images, what decides."""
        return tuple(RECIPES) if self.is_labelled else ("reference", "default")


def pneumonia(shared: Path) -> Subject:
    """Two classes at 28x28."""
    parts = real_images.pneumonia(shared)
    held_out = {part: parts[part] for part in ("validation", "test")}
    return Subject("pneumoniamnist", "minuscule28", PNEUMONIA_CLASSES, parts["train"], held_out, 64)


def chests(shared: Path) -> Subject:
    """One class at 64x64."""
    parts = real_images.chests(shared)
    return Subject("nih-cxr14-128", "dcgan64", ("chest",), parts["train"], {"validation": parts["validation"]}, 32)


SUBJECTS: Mapping[str, Callable[[Path], Subject]] = {"pneumoniamnist": pneumonia, "nih-cxr14-128": chests}


@dataclass(frozen=True)
class Generators:
    """Trained networks; of several, each draws the class of its place."""

    trainers: Sequence[Trainer]

    def draw(self, code: int, seed: int, count: int) -> Pixels:
        """Synthetic images of a class."""
        trainer = self.trainers[code if len(self.trainers) > 1 else 0]
        told = trainer.family.takes_labels
        points = latent_points(seed, 0, count, trainer.family.latent_size)
        parts = [
            trainer.sample(part, np.full(len(part), code, np.int32) if told else None)
            for part in np.array_split(points, -(-count // DRAWN_AT_ONCE))
        ]
        return np.round(np.concatenate(parts) * 255).astype(np.uint8)


def train(subject: Subject, recipe: Recipe, seed: int, steps: int) -> Generators:
    """Train as a recipe wants it."""
    trainers = []
    for family, population in _populations(subject, recipe):
        trainer = build_trainer(
            family,
            subject.batch_size,
            preset=recipe.preset,
            hyperparameters={"width": WIDTH} | dict(recipe.hyperparameters),
            population=population,
            seed=seed,
            precision="float32",
        )
        while trainer.steps_done < steps:
            trainer.advance(min(STEPS_AT_ONCE, steps - trainer.steps_done))
        trainers.append(trainer)
    return Generators(trainers)


def _populations(subject: Subject, recipe: Recipe) -> Iterator[tuple[str, Population]]:
    codes = range(len(subject.classes))
    if recipe.per_class or not subject.is_labelled:
        yield from ((subject.family, all_of(subject.train.of(code))) for code in codes)
        return
    order = np.argsort(subject.train.codes, kind="stable")
    sizes = tuple(int((subject.train.codes == code).sum()) for code in codes)
    learnt = LearntClasses(by="labels", names=subject.classes)
    yield f"{subject.family}-conditional", Population(subject.train.images, order, learnt, sizes)


class Judge:
    """Measures images of a subject, real or synthetic, against those that were learnt from."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        some = np.random.default_rng(0).permutation(len(subject.train.images))[:FEATURES_FROM]
        images, applied = distorted(subject.train.images[np.sort(some)], seed=0)
        self._taught = classifier.fit(images, applied, class_count=len(DISTORTIONS), seed=0, recipe=FEATURES)

    def of_synthetic(self, generators: Generators, seed: int) -> Numbers:
        """All numbers of a recipe."""
        many = LEARNT_FROM if self._subject.is_labelled else DRAWN
        drawn = [generators.draw(code, seed, many) for code in range(len(self._subject.classes))]
        numbers = self._distances([images[:DRAWN] for images in drawn])
        numbers["told from real"] = self._told_from_real(drawn, seed)
        if self._subject.is_labelled:
            part = Part(np.concatenate(drawn), np.repeat(np.arange(len(drawn)), [len(images) for images in drawn]))
            numbers |= self._taught_by(part, seed)
        return numbers

    def of_real(self, seed: int) -> Numbers:
        """The same of real ones: distances of those held out, and a classifier that was taught by the others."""
        held_out = next(iter(self._subject.held_out.values()))
        other = [held_out.of(code) for code in range(len(self._subject.classes))]
        numbers = self._distances(other) | {"told from real": self._told_from_real(other, seed)}
        return numbers | (self._taught_by(self._subject.train, seed) if self._subject.is_labelled else {})

    def _distances(self, others: Sequence[Pixels]) -> Numbers:
        numbers: Numbers = {}
        for code, name in enumerate(self._subject.classes):
            ours, theirs = self._taught.features(self._subject.train.of(code)), self._taught.features(others[code])
            found = precision_recall(ours, theirs)
            numbers |= {
                f"Fréchet, {name}": frechet_distance(ours, theirs).distance,
                f"precision, {name}": found.precision,
                f"recall, {name}": found.recall,
            }
        return numbers

    def _taught_by(self, part: Part, seed: int) -> Numbers:
        """How well a classifier that some images have taught tells real ones apart."""
        taught = classifier.fit(
            part.images, part.codes, class_count=len(self._subject.classes), seed=seed, recipe=TAUGHT
        )
        numbers: Numbers = {}
        for name, real in self._subject.held_out.items():
            likely = taught.predict(real.images)
            numbers |= {
                f"AUC, {name}": roc_auc_score(real.codes, likely[:, 1]),
                f"balanced accuracy, {name}": balanced_accuracy_score(real.codes, likely.argmax(axis=1)),
            }
        return numbers

    def _told_from_real(self, others: Sequence[Pixels], seed: int) -> float:
        """The accuracy with which a classifier tells them from real images that were learnt from, on unseen ones."""
        chance = np.random.default_rng(seed)
        images, codes = [], []
        for code, other in enumerate(others):
            real = self._subject.train.of(code)
            count = min(len(real), len(other), DRAWN)
            images += [chance.permutation(real)[:count], chance.permutation(other)[:count]]
            codes += [np.zeros(count, np.int64), np.ones(count, np.int64)]
        both, is_other = np.concatenate(images), np.concatenate(codes)
        halves = np.array_split(chance.permutation(len(both)), 2)
        right = 0
        for seen, unseen in (halves, halves[::-1]):
            taught = classifier.fit(both[seen], is_other[seen], class_count=2, seed=seed, recipe=TAUGHT)
            right += int((taught.predict(both[unseen]).argmax(axis=1) == is_other[unseen]).sum())
        return right / len(both)


def run(chosen: argparse.Namespace) -> None:
    """Do what is asked for and not done yet, one line for each."""
    if chosen.threads:
        tf.config.threading.set_intra_op_parallelism_threads(chosen.threads)
        tf.config.threading.set_inter_op_parallelism_threads(chosen.threads)
    for name in chosen.subject or SUBJECTS:
        subject = SUBJECTS[name](chosen.shared)
        judge = Judge(subject)
        for seed in chosen.seed or range(3):
            for recipe in chosen.recipe or (FLOOR, *subject.recipes):
                file = chosen.results / "runs" / name / f"{recipe}-{seed}.json"
                asked = _asked(subject, recipe, chosen.steps)
                if file.exists():
                    _check_same(file, asked)
                    continue
                numbers = _of_run(subject, judge, recipe, seed, chosen.steps, file)
                file.parent.mkdir(parents=True, exist_ok=True)
                measured = {key: round(float(value), 4) for key, value in numbers.items()}
                file.write_text(json.dumps(asked | {"measured": measured}, ensure_ascii=False, indent=1) + "\n")
                print(name, file.stem, json.dumps(measured, ensure_ascii=False), flush=True)
                classifier.release_memory()


def _asked(subject: Subject, recipe: str, steps: int) -> Numbers:
    """What a run is of, as its file says it: nothing is trained for the floor."""
    if recipe == FLOOR:
        return {}
    asked = RECIPES[recipe]
    hyperparameters = registry.family(subject.family).configure(
        asked.preset, {"width": WIDTH} | dict(asked.hyperparameters)
    )
    return {
        "steps": steps,
        "batch_size": subject.batch_size,
        "per_class": asked.per_class,
        "hyperparameters": hyperparameters.model_dump(mode="json"),
    }


def _check_same(file: Path, asked: Numbers) -> None:
    """SystemExit if a file is of another run than what is asked for."""
    kept = json.loads(file.read_text())
    kept.pop("measured")
    if kept != asked:
        raise SystemExit(f"{file} is of {kept}, and asked for is {asked}: move it away, or name other --results.")


def _of_run(subject: Subject, judge: Judge, recipe: str, seed: int, steps: int, file: Path) -> Numbers:
    if recipe == FLOOR:
        return judge.of_real(seed)
    generators = train(subject, RECIPES[recipe], seed, steps)
    count = GRID_COLUMNS * GRID_ROWS // len(subject.classes)
    rows = [generators.draw(code, seed, count) for code in range(len(subject.classes))]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tile(np.concatenate(rows), GRID_COLUMNS)).save(file.with_suffix(".png"))
    return judge.of_synthetic(generators, seed)


def tables(chosen: argparse.Namespace) -> None:
    """Of each recipe the mean of the seeds, the least and the most: of its images, and of what they have taught."""
    for name, recipes in _recipes_done(chosen.results):
        runs = {recipe: [json.loads(file.read_text())["measured"] for file in files] for recipe, files in recipes}
        found = list(dict.fromkeys(key for done in runs.values() for numbers in done for key in numbers))
        for kinds in TABLES:
            if columns := [key for key in found if key.split(",")[0] in kinds]:
                print(f"\n{name}:\n\n| recipe | seeds | {' | '.join(columns)} |")
                print("| --- " * (len(columns) + 2) + "|")
                for recipe, done in runs.items():
                    cells = [_spread([numbers[key] for numbers in done]) for key in columns]
                    print(f"| `{recipe}` | {len(done)} | {' | '.join(cells)} |")


def _spread(values: Sequence[float]) -> str:
    mean, least, most = statistics.mean(values), min(values), max(values)
    places = 2 if most > 1 else 3
    return f"{mean:.{places}f}" + ("" if least == most else f" ({least:.{places}f} to {most:.{places}f})")


def grids(chosen: argparse.Namespace) -> None:
    """For each subject one picture of the first seed, a block for each recipe below its name."""
    for name, recipes in _recipes_done(chosen.results):
        blocks = {recipe: _enlarged(files[0].with_suffix(".png")) for recipe, files in recipes if recipe != FLOOR}
        width = next(iter(blocks.values())).width
        sheet = Image.new("L", (width, sum(NAME_HEIGHT + block.height for block in blocks.values())), 255)
        draw, top = ImageDraw.Draw(sheet), 0
        for recipe, block in blocks.items():
            draw.text((0, top + NAME_HEIGHT - 4), recipe, 0, ImageFont.load_default(NAME_SIZE), anchor="ls")
            sheet.paste(block, (0, top + NAME_HEIGHT))
            top += NAME_HEIGHT + block.height
        sheet.save(chosen.results / f"{name}.png")


def _enlarged(file: Path) -> Image.Image:
    with Image.open(file) as grid:
        return grid.resize((TIMES * grid.width, TIMES * grid.height), Image.Resampling.NEAREST)


def _recipes_done(results: Path) -> Iterator[tuple[str, list[tuple[str, list[Path]]]]]:
    """By subject, each recipe with the files of its runs by seed, in the order above."""
    for name in SUBJECTS:
        found = [
            (recipe, sorted((results / "runs" / name).glob(f"{recipe}-[0-9]*.json"))) for recipe in (FLOOR, *RECIPES)
        ]
        if done := [(recipe, files) for recipe, files in found if files]:
            yield name, done


def read_arguments() -> argparse.Namespace:
    """What to do, with what."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=WORK)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder of the real data")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs and pictures")
    parser.add_argument("--subject", choices=SUBJECTS, action="append", help="may be repeated; default: all")
    parser.add_argument("--recipe", choices=(FLOOR, *RECIPES), action="append", help="may be repeated; default: all")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; default: 0, 1 and 2")
    parser.add_argument("--steps", type=at_least(1), default=800)
    parser.add_argument("--threads", type=at_least(1), help="default: all cores")
    return parser.parse_args()


WORK: Mapping[str, Callable[[argparse.Namespace], None]] = {"run": run, "tables": tables, "grids": grids}


def main() -> None:
    chosen = read_arguments()
    WORK[chosen.what](chosen)


if __name__ == "__main__":
    main()
