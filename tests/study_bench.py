"""Studies of tiny networks, or of none that learns: what they are asked, and what they leave."""

import csv
import io
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset
from worker.contract.resources import Kind
from worker.contract.results import StudyResult
from worker.contract.study_requests import StudyRequest
from worker.dataset import Dataset
from worker.population import Population
from worker.sources.base import SPLITS
from worker.study import arms, generators

SIZE = 8
PATIENTS, SHOTS = 24, 2
"""Images of a patient follow one another; those of every second one are brighter, and show a mass."""
ARTEFACTS = (
    "curve.png",
    "curve.svg",
    *(f"tables/{name}.csv" for name in ("arms", "comparisons", "curve", "predictions")),
)


def drawn(marked: bool = False) -> NDArray[np.uint8]:
    """Noise, brighter where there is a mass; if they are marked, the first pixel tells the patient."""
    whose = np.repeat(np.arange(PATIENTS), SHOTS)
    images = np.random.default_rng(5).integers(0, 120, (len(whose), SIZE, SIZE), np.uint8)
    images[whose % 2 == 1] += 100
    if marked:
        images[:, 0, 0] = whose
    return images


def dataset_of(folder: Path, images: NDArray[np.uint8]) -> Dataset:
    patients = np.repeat(np.arange(PATIENTS), SHOTS)
    labels = np.where(patients % 2 == 1, "Mass", "Nodule").tolist()
    parts = np.repeat(SPLITS, len(images) // 3).tolist()
    return labelled_dataset(folder, images, labels, parts, patients.tolist())


def request(family: str, **more: Any) -> StudyRequest:
    asked: dict[str, Any] = {
        "dataset": Kind.DATASET.new_id(),
        "folds": None,
        "amounts": (0, 6),
        "generator": {"model": {"family": family}, "steps": 4, "batch_size": 4, "precision": "float32"},
        "classifier": {"epochs": 2, "batch_size": 8, "optimizer": "adam"},
        "seed": 7,
    }
    return StudyRequest(**asked | more)


def artefacts(context: Any) -> dict[str, bytes]:
    folder = context.store.folder(context.resource_id)
    return {name: (folder / name).read_bytes() for name in ARTEFACTS}


def without_seconds(result: StudyResult) -> StudyResult:
    return result.model_copy(update={"seconds": 0.0})


def predictions(job: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(artefacts(job)["tables/predictions.csv"].decode())))


class UntaughtTrainer:
    """In place of one that learns; remembers which patients it was handed."""

    handed: ClassVar[list[set[int]]] = []
    state_bytes = 0

    def __init__(self, family: Any, hyperparameters: Any, strategy: Any, population: Population, plan: Any) -> None:
        self.family, self.hyperparameters, self.steps_done = family, hyperparameters, 0
        self.handed.append(set(population.take(np.arange(len(population)))[:, 0, 0].tolist()))

    def advance(self, steps: int) -> list[dict[str, float]]:
        self.steps_done += steps
        return [{"loss": 0.0}] * steps

    def state(self) -> None:
        """There is none."""

    def sample(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones((len(latents), SIZE, SIZE), np.float32)


class UntaughtClassifier:
    best_epoch = 1

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.full((len(images), 2), 0.5)


class Killed(BaseException):
    """As if the process had died."""


def killed(*_: Any, **__: Any) -> NoReturn:
    raise Killed


def untaught(monkeypatch: pytest.MonkeyPatch, trainer: type = UntaughtTrainer) -> None:
    """Networks that learn nothing, and a state of a generator after every second step."""
    monkeypatch.setattr(UntaughtTrainer, "handed", [])
    monkeypatch.setattr(generators, "Trainer", trainer)
    monkeypatch.setattr(generators, "STATE_EVERY", 2)
    monkeypatch.setattr(generators, "write_state", lambda _, made: made.mkdir())
    monkeypatch.setattr(arms, "fit", lambda *_, **__: UntaughtClassifier())


def states(job: Any) -> list[str]:
    return [state.name for state in (job.store.folder(job.resource_id) / "unfinished").rglob("0000*")]
