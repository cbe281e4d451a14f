import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.contract.checkpoints import (
    NO_CLASSES,
    CheckpointRecord,
    best_of,
    checkpoint_name,
    latest,
    list_checkpoints,
    list_records,
    read_record,
)
from worker.contract.errors import CheckpointMissing
from worker.contract.results import BestCheckpoint


def keep(training: Path, *steps: int, best: BestCheckpoint | None = None) -> None:
    for step in steps:
        record = CheckpointRecord(
            step=step,
            created_at=datetime(2024, 5, 1, 12, 0, step % 60, tzinfo=UTC),
            bytes=step * 10,
            family="dcgan64",
            hyperparameters={"width": 0.5},
            image_size=64,
            dataset="ds_0",
            dataset_sha256="0f",
            images_seen=step * 64,
            seconds=1.5,
            versions={},
            best=best,
        )
        folder = training / checkpoint_name(step)
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(record.model_dump_json())


def test_checkpoints_are_listed_by_step_and_the_newest_is_the_latest(tmp_path: Path) -> None:
    keep(tmp_path, 200, 10_000_000, 50)
    assert [(info.step, info.bytes) for info in list_checkpoints(tmp_path)] == [
        (50, 500),
        (200, 2000),
        (10_000_000, 100_000_000),
    ]
    newest = latest(tmp_path)
    assert newest is not None
    assert newest.step == 10_000_000
    assert newest.hyperparameters == {"width": 0.5}


def test_a_record_from_before_there_were_classes_and_a_best_has_none(tmp_path: Path) -> None:
    keep(tmp_path, 1)
    file = tmp_path / checkpoint_name(1) / "checkpoint.json"
    old = {name: value for name, value in json.loads(file.read_text()).items() if name not in {"classes", "best"}}
    file.write_text(json.dumps(old))
    record = read_record(tmp_path, 1)
    assert (record.classes, record.best) == (NO_CLASSES, None)


def test_the_newest_knows_which_is_the_best(tmp_path: Path) -> None:
    first, second = (BestCheckpoint(step=step, metric="frechet_distance", value=9 - step) for step in (1, 3))
    keep(tmp_path, 1, 2, best=first)
    assert best_of(list_records(tmp_path)) == first
    assert [info.best for info in list_checkpoints(tmp_path)] == [True, False]
    keep(tmp_path, 3, 4, best=second)
    assert best_of(list_records(tmp_path)) == second
    assert [info.step for info in list_checkpoints(tmp_path) if info.best] == [3]


def test_a_training_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path) == []
    assert latest(tmp_path) is None
    assert best_of(list_records(tmp_path)) is None
    with pytest.raises(CheckpointMissing, match="it has none yet"):
        read_record(tmp_path, 1)


def test_one_that_is_being_withdrawn_is_not_listed(tmp_path: Path) -> None:
    keep(tmp_path, 1, 2)
    (tmp_path / checkpoint_name(1) / "checkpoint.json").unlink()
    assert [info.step for info in list_checkpoints(tmp_path)] == [2]


def test_one_that_is_not_kept_is_answered_with_those_that_are(tmp_path: Path) -> None:
    keep(tmp_path, 100, 200)
    assert read_record(tmp_path, 200).images_seen == 12_800
    with pytest.raises(CheckpointMissing, match=r"no checkpoint at step 150: take one of 100, 200\."):
        read_record(tmp_path, 150)
