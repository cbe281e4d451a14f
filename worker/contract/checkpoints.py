"""Checkpoints as files: `checkpoints/<step>/` below a training's folder, each published whole.

`checkpoint.json` says what a checkpoint is; the networks beside it are read by `worker.checkpoint` alone, so that
the front end can list checkpoints without TensorFlow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.contract.errors import CheckpointMissing
from worker.contract.requests import ClassField
from worker.contract.resources import Timestamp
from worker.contract.results import BestCheckpoint, CheckpointInfo

CHECKPOINTS = "checkpoints"
RECORD_FILE = "checkpoint.json"


class LearntClasses(BaseModel):
    """The classes that a training with labels tells apart; a class's code is its place in `names`."""

    model_config = ConfigDict(frozen=True)

    by: ClassField | None = None
    names: tuple[str, ...] = ()


NO_CLASSES = LearntClasses()


class CheckpointRecord(BaseModel):
    """What a checkpoint is of, enough to build its networks and to go on from it."""

    model_config = ConfigDict(frozen=True)

    step: int
    created_at: Timestamp
    bytes: int = Field(description="Size of the networks' and optimisers' state on disk.")
    family: str
    hyperparameters: dict[str, Any]
    image_size: int
    dataset: str = Field(description="Id of the dataset that was trained on.")
    dataset_sha256: str | None = Field(description="Of its images; null if the dataset's record is gone.")
    images_seen: int = Field(description="Real images, over all runs so far.")
    seconds: float = Field(description="Spent in training steps, over all runs so far.")
    versions: dict[str, str]
    classes: LearntClasses = Field(NO_CLASSES, description="Empty for families that take no labels.")
    best: BestCheckpoint | None = Field(
        None, description="Of all up to this one, itself included; null while the training has not been evaluated."
    )

    def info(self, *, best: bool) -> CheckpointInfo:
        return CheckpointInfo(step=self.step, created_at=self.created_at, bytes=self.bytes, best=best)


def checkpoint_name(step: int) -> str:
    """Where the checkpoint at a step is, below a training's folder."""
    return f"{CHECKPOINTS}/{step:08d}"


def list_records(training: Path) -> list[CheckpointRecord]:
    """The checkpoints in a training's folder, in the order of their steps."""
    records = []
    for folder in sorted((training / CHECKPOINTS).glob("[0-9]*")):
        try:
            records.append(CheckpointRecord.model_validate_json((folder / RECORD_FILE).read_bytes()))
        except FileNotFoundError:  # withdrawn by the training since it was listed
            continue
    return records


def list_checkpoints(training: Path) -> list[CheckpointInfo]:
    """What is said of the checkpoints in a training's folder, in the order of their steps."""
    records = list_records(training)
    best = best_of(records)
    return [record.info(best=best is not None and record.step == best.step) for record in records]


def best_of(records: Sequence[CheckpointRecord]) -> BestCheckpoint | None:
    """The best of a training's checkpoints, in the order of their steps; None unless it was evaluated on the way.

    The newest one knows: a step that is the best so far has a checkpoint, and both are published as one.
    """
    return records[-1].best if records else None


def latest(training: Path) -> CheckpointRecord | None:
    """The newest checkpoint in a training's folder, None while there is none."""
    return max(list_records(training), key=lambda record: record.step, default=None)


def read_record(training: Path, step: int) -> CheckpointRecord:
    """The checkpoint at a step; CheckpointMissing, naming those there are, if it is not kept."""
    try:
        return CheckpointRecord.model_validate_json((training / checkpoint_name(step) / RECORD_FILE).read_bytes())
    except FileNotFoundError as error:
        kept = ", ".join(str(info.step) for info in list_checkpoints(training))
        instead = f"take one of {kept}" if kept else "it has none yet"
        raise CheckpointMissing(f"{training.name} has no checkpoint at step {step}: {instead}.") from error
