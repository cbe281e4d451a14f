"""The arms of a study: what each classifier learns from, and what it then tells of images it has not seen."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.classical_augmentation import augmented
from worker.classifier import Change, Epoch, Recipe, fit
from worker.contract.requests import ClassicalPreset
from worker.contract.study_cells import Cell
from worker.contract.study_requests import StudyRequest
from worker.population import Population
from worker.study.plan import random_seed
from worker.study.record import Told
from worker.study.sealed_fold import SealedFold

CLASSICAL_ARMS = ("real_classical", "real_classical_synthetic")


@dataclass(frozen=True)
class Joined:
    """Images of some populations, one after the other; of those that are mapped into memory, none is read unasked."""

    populations: tuple[Population, ...]

    def __len__(self) -> int:
        return sum(map(len, self.populations))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S)."""
        return (len(self), *self.populations[0].images.shape[1:])

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Those at rows (B,): (B, S, S)."""
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        first = 0
        for population in self.populations:
            here = (first <= rows) & (rows < first + len(population))
            images[here] = population.take(rows[here] - first)
            first += len(population)
        return images


@dataclass(frozen=True)
class Lesson:
    """Images (N, S, S), the first `real` of which are real, and their classes (N,)."""

    images: Joined
    codes: NDArray[np.int64]
    real: int


def lesson_of(cell: Cell, sealed: SealedFold, synthetic: Sequence[NDArray[np.uint8]]) -> Lesson:
    """What the classifier of a cell learns from.

    Args:
        cell: Which classifier.
        sealed: Its fold.
        synthetic: For each class what its generator has drawn, of which the first ones are taken; none are needed for
            an amount of 0.
    """
    drawn = [Population(of_class, np.arange(cell.amount)) for of_class in synthetic] if cell.amount else []
    drawn_codes = np.repeat(np.arange(len(drawn)), cell.amount)
    if cell.arm == "synthetic":
        return Lesson(Joined(tuple(drawn)), drawn_codes, real=0)
    real, codes = sealed.to_learn_from()
    return Lesson(Joined((real, *drawn)), np.concatenate([codes, drawn_codes]), len(real))


def teach(
    cell: Cell,
    sealed: SealedFold,
    synthetic: Sequence[NDArray[np.uint8]],
    request: StudyRequest,
    *,
    on_epoch: Callable[[Epoch], None],
    clock: Callable[[], float] = time.monotonic,
) -> Told:
    """Teach the classifier of a cell, and ask it about the validation and the test part of its fold.

    Its random numbers depend on the study's seed and on the cell alone.
    """
    began = clock()
    lesson = lesson_of(cell, sealed, synthetic)
    validation = sealed.to_validate_with()
    asked = request.classifier
    classifier = fit(
        lesson.images,
        lesson.codes,
        class_count=len(sealed.subjects.names),
        seed=random_seed(request.seed, "classifier", cell.fold, cell.arm, cell.amount),
        recipe=Recipe(
            epochs=asked.epochs,
            batch_size=asked.batch_size,
            optimizer=asked.optimizer,
            learning_rate=asked.learning_rate,
            balance="oversampling" if cell.arm == "real_oversampled" else "none",
            patience=asked.patience,
        ),
        validation=None if asked.patience is None else validation,
        change=_variants_of_real(lesson.real, request.classical) if cell.arm in CLASSICAL_ARMS else None,
        on_epoch=on_epoch,
    )
    return Told(
        validation=classifier.predict(validation[0]),
        test=classifier.predict(sealed.to_test_on()),
        seconds=clock() - began,
        best_epoch=classifier.best_epoch,
    )


def _variants_of_real(real: int, preset: ClassicalPreset) -> Change:
    """Synthetic images are shown as they are: they are varied already, as much as their generator has learnt to."""

    def change(images: NDArray[np.uint8], rows: NDArray[np.int64], chance: Generator) -> NDArray[np.uint8]:
        varied = images.copy()
        varied[rows < real] = augmented(images[rows < real], preset, chance)
        return varied

    return change
