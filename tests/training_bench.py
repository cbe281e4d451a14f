"""Runs trainings as jobs would, and looks at what they leave."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainers import labelled_dataset
from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import list_checkpoints
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind, Progress
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.dataset import Dataset
from worker.stages.train import train

DATASET = Kind.DATASET.new_id()
TRAINING = Kind.TRAINING.new_id()


class Watcher:
    """Records what a training tells, and stops it once it has published the snapshot of a step."""

    def __init__(self, stop_at: int | None) -> None:
        self.stop_at = stop_at
        self.progress: list[Progress] = []
        self.events: list[tuple[str, dict[str, Any]]] = []

    def report(self, progress: Progress) -> None:
        self.progress.append(progress)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))

    def should_stop(self) -> bool:
        return ("snapshot", {"step": self.stop_at}) in self.events

    def canceled(self) -> bool:
        return False

    def steps_of(self, kind: str) -> list[int]:
        return [data["step"] for name, data in self.events if name == kind]


class Ticks:
    """A clock that is a second later each time it is read, or as much as it is told."""

    def __init__(self, tick: float = 1.0) -> None:
        self.now = 0.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Bench:
    """Runs trainings of one id below a folder, each time as a new job would."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.folder = self.store.folder(TRAINING)

    def run(
        self,
        family: str,
        *,
        stop_at: int | None = None,
        size: int = 8,
        images: int = 10,
        tick: float = 1.0,
        **more: Any,
    ) -> tuple[Any, Watcher]:
        """The result, also of one that was stopped, and what it told."""
        watcher = Watcher(stop_at)
        request = {"steps": 6, "batch_size": 4, "snapshot_every": 1, "checkpoint_every": 2, "seed": 3} | more
        asked = TrainingRequest(
            dataset=DATASET,
            precision=request.pop("precision", "float32"),
            model={"family": family, **request.pop("model", {})},
            **request,
        )
        with self.store.scratch(TRAINING) as scratch:
            context = JobContext(
                resource_id=TRAINING,
                store=self.store,
                scratch=scratch,
                settings=Settings(store=self.store.root),
                reporter=watcher,
            )
            try:
                return train(asked, dataset(size, self.store.root, images), context, clock=Ticks(tick)), watcher
            except StopRequested as stop:
                return stop.result, watcher

    def rows(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def snapshots(self) -> list[int]:
        return sorted(int(file.stem) for file in (self.folder / "snapshots").glob("*.png"))

    def checkpoints(self) -> list[int]:
        return [info.step for info in list_checkpoints(self.folder)]

    def digest(self, step: int) -> str:
        """Of everything in a checkpoint that TensorFlow wrote."""
        reader = tf.train.load_checkpoint(str(self.folder / "checkpoints" / f"{step:08d}" / "state"))
        total = hashlib.sha256()
        for name in sorted(reader.get_variable_to_shape_map()):
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
                total.update(np.asarray(reader.get_tensor(name)).tobytes())
        return total.hexdigest()


def dataset(size: int, folder: Path, count: int) -> Dataset:
    """Noise; the last three images are not for training, and are white, so that it shows if they are used.

    The first image shows a mass, is black, and is the only one of its class; the others show nodules.
    """
    images = np.random.default_rng(1).integers(1, 200, (count, size, size), np.uint8)
    images[0], images[-3:] = 0, 255
    parts = ["train"] * (count - 3) + ["validation", "test", "test"]
    return labelled_dataset(folder, images, ["Mass"] + ["Nodule"] * (count - 1), parts)
