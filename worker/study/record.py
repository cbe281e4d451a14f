"""What a study keeps of what it has done, a file each, so that one that was killed goes on where it was.

folds.npz                           which of the subjects are in which part of each fold
generators/1/0/                     of the first class of the first fold: images.npy, uint8 (largest amount, S, S)
unfinished/1/0/00000200/            state of that generator after 200 steps, while it is trained
cells/1/real_synthetic-500.npz      what a classifier told of the validation and the test part of a fold
"""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext
from worker.contract.study_cells import Cell
from worker.sources.base import SPLITS
from worker.study.folds import Fold

FOLDS_FILE, IMAGES_FILE, TIME_FILE = "folds.npz", "images.npy", "seconds.json"
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Told:
    """What a classifier told: the probability of each class, (N, classes), of the images of two parts of its fold."""

    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: float
    best_epoch: int


class StudyRecord:
    """The files of one study."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._folder = context.store.folder(context.resource_id)

    @property
    def bytes(self) -> int:
        """Of all that is kept."""
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    def folds(self) -> tuple[Fold, ...] | None:
        """Those that an earlier attempt went by; None in the first."""
        arrays = self._read_arrays(FOLDS_FILE)
        if arrays is None:
            return None
        count = len(arrays) // len(SPLITS)
        return tuple(Fold(*(arrays[f"{part}_{number}"] for part in SPLITS)) for number in range(count))

    def keep_folds(self, folds: Sequence[Fold]) -> None:
        """For every later attempt: another version of a library may deal patients out otherwise."""
        self._publish_arrays(
            FOLDS_FILE,
            {f"{part}_{number}": getattr(fold, part) for number, fold in enumerate(folds) for part in SPLITS},
        )

    def told(self, cell: Cell) -> Told | None:
        """What the classifier of a cell told; None if it has not been taught."""
        arrays = self._read_arrays(_cell_file(cell))
        if arrays is None:
            return None
        return Told(arrays["validation"], arrays["test"], float(arrays["seconds"]), int(arrays["best_epoch"]))

    def keep_told(self, cell: Cell, told: Told) -> None:
        """Publish what a classifier told."""
        self._publish_arrays(_cell_file(cell), vars(told))

    def synthetic(self, fold: int, code: int) -> NDArray[np.uint8] | None:
        """What the generator of a class has drawn, (largest amount, S, S), memory-mapped; None before that."""
        with suppress(FileNotFoundError):
            return _mapped(self._generator(fold, code))
        return None

    def keep_synthetic(self, fold: int, code: int, images: Path, seconds: float) -> NDArray[np.uint8]:
        """Publish what a generator has drawn, let go of its state, and give the images back, memory-mapped.

        `images` is an array file in scratch, which is moved.
        """
        made = self._context.scratch / "generator"
        made.mkdir()
        images.replace(made / IMAGES_FILE)
        (made / TIME_FILE).write_text(json.dumps(seconds))
        kept = self._context.store.publish(made, self._context.resource_id, f"generators/{fold + 1}/{code}")
        self.withdraw_states(fold, code)
        return _mapped(kept)

    def generator_seconds(self, fold: int, code: int) -> float:
        """What it took the attempt that finished a generator; 0 while it is not done."""
        with suppress(FileNotFoundError):
            return float(json.loads((self._generator(fold, code) / TIME_FILE).read_text()))
        return 0.0

    def unfinished_name(self, fold: int, code: int) -> str:
        """Where the states of a generator in training are, below the study's folder; each is named by its step."""
        return f"{UNFINISHED}/{fold + 1}/{code}"

    def unfinished_steps(self, fold: int, code: int) -> list[int]:
        """The steps of these states, increasing."""
        return sorted(int(kept.name) for kept in (self._folder / self.unfinished_name(fold, code)).glob("[0-9]*"))

    def withdraw_states(self, fold: int, code: int) -> None:
        """Let go of those of a generator that has drawn."""
        self._context.store.withdraw(self._context.resource_id, self.unfinished_name(fold, code))

    def withdraw_unfinished(self) -> None:
        """Let go of those of all generators, at the end of the study."""
        self._context.store.withdraw(self._context.resource_id, UNFINISHED)

    def _generator(self, fold: int, code: int) -> Path:
        return self._folder / "generators" / str(fold + 1) / str(code)

    def _read_arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        try:
            with np.load(self._folder / name, allow_pickle=False) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            return None

    def _publish_arrays(self, name: str, arrays: dict[str, Any]) -> None:
        file = io.BytesIO()
        np.savez(file, **arrays)
        self._context.store.publish_bytes(file.getvalue(), self._context.resource_id, name)


def _mapped(generator: Path) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.load(generator / IMAGES_FILE, mmap_mode="r")
    return images


def _cell_file(cell: Cell) -> str:
    return f"cells/{cell.fold + 1}/{cell.arm}-{cell.amount}.npz"
