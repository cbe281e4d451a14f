"""What is said of a disk without room, with how much was needed and how much is free."""

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from worker.contract.errors import DiskFull, StoreUnavailable
from worker.contract.resources import Kind
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name
from worker.contract.space import (
    check_room,
    dataset_bytes,
    disk_full,
    evaluation_bytes,
    generation_bytes,
    reader_study_bytes,
    study_bytes,
    trouble,
)


def test_a_store_with_room_is_not_objected_to_be_it_made_yet_or_not(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    check_room(tmp_path / "not" / "made", 1)


def test_what_is_needed_and_what_is_free_are_told(tmp_path: Path) -> None:
    with pytest.raises(DiskFull) as caught:
        check_room(tmp_path / "not" / "made", 2**62)
    told = re.fullmatch(
        r"The disk of the store is full: 4,611,686,018,427\.4 MB are needed and ([\d,]+\.\d) MB are free\. "
        r"Delete what is not needed any more, or ask for less\.",
        caught.value.detail,
    )
    assert told is not None
    free = float(told[1].replace(",", "")) * 1e6
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert "are needed" in disk_full(tmp_path, 17).detail
    assert " 17 bytes " in disk_full(tmp_path, 17).detail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_or_a_share_of_it_that_is_full_is_told_as_such(tmp_path: Path, number: int) -> None:
    told = trouble(tmp_path, OSError(number, os.strerror(number)), 3_000_000)
    assert type(told) is DiskFull
    assert "3.0 MB are needed" in told.detail


@pytest.mark.parametrize(("name", "sentence"), [("here", "The file here could"), (None, "The file could")])
def test_another_trouble_names_the_file(tmp_path: Path, name: str | None, sentence: str) -> None:
    told = trouble(tmp_path, OSError(errno.EIO, "Input/output error", name), 1)
    assert type(told) is StoreUnavailable
    assert told.detail == f"{sentence} not be read or written (Input/output error): mend the disk of {tmp_path}."


def test_a_dataset_takes_its_array() -> None:
    assert dataset_bytes(112_120, 64) == np.zeros((112_120, 64, 64), np.uint8).nbytes


def test_a_reader_study_takes_images_of_both_kinds() -> None:
    assert reader_study_bytes(50, 64) == np.zeros((100, 64, 64), np.uint8).nbytes


@pytest.mark.parametrize("labels", [None, ["Mass", "Łódź|" * 300]])
def test_a_generation_takes_no_more_than_foreseen(tmp_path: Path, store, job_context, labels) -> None:
    from worker.stages.generate import _publish_shard

    context = job_context()
    noise = np.random.default_rng(1).integers(0, 256, (SHARD_IMAGES, 64, 64), np.uint8)
    long = {"Synthetic": "true", "Software": "RaGAN", "Training": context.resource_id, "Dataset-SHA-256": "0" * 64}
    long |= {"Checkpoint": "100000", "Seed": str(2**63), "Precision": "bfloat16"}
    long |= {"Label": labels[1]} if labels else {}
    _publish_shard(noise, 0, [long | {"Index": str(index)} for index in range(SHARD_IMAGES)], context)
    folder = context.store.folder(context.resource_id)
    written = sum((folder / name(0)).stat().st_size for name in (array_name, archive_name))
    foreseen = generation_bytes(SHARD_IMAGES, 64, labels)
    assert 0.8 * foreseen < written <= foreseen


def test_a_study_takes_no_more_than_foreseen(job_context) -> None:
    from worker.contract.study_cells import Cell
    from worker.study.folds import Fold
    from worker.study.record import StudyRecord, Told

    images, classes, folds, largest = 90, 3, 3, 40
    context = job_context(Kind.STUDY.new_id())
    record = StudyRecord(context)
    places = np.arange(images)
    parts = [(places[part != 0], places[part == 1], places[part == 0]) for part in ((places + n) % 3 for n in range(3))]
    record.keep_folds([Fold(*each) for each in parts])
    for fold in range(folds):
        for code in range(classes):
            np.save(drawn := context.scratch / "drawn.npy", np.zeros((largest, 16, 16), np.uint8))
            record.keep_synthetic(fold, code, drawn, 1.0)
        for arm in ("real", "synthetic"):
            told = np.zeros((images // folds, classes))
            record.keep_told(Cell(fold, arm, 5), Told(told, told, 1.0, 1))
    foreseen = study_bytes(images=images, image_size=16, classes=classes, folds=folds, largest_amount=largest, cells=2)
    assert record.bytes <= foreseen - 2_000_000  # which are for pictures and tables


@pytest.mark.parametrize("image_size", [16, 128])
def test_an_evaluation_takes_no_more_than_foreseen(store, job_context, image_size: int) -> None:
    from worker.metrics.memorisation import Pair, worst_pairs_grid
    from worker.sources.pixels import encode_png
    from worker.stages.evaluate import _publish_grid

    context = job_context()
    noise = np.random.default_rng(1).integers(0, 256, (64, image_size, image_size), np.uint8)
    _publish_grid(noise, noise, context)
    pairs = worst_pairs_grid(tuple(Pair(each, each, 0.0, 0.0) for each in range(10)), noise, noise)
    written = (context.store.folder(context.resource_id) / "grid.png").stat().st_size + len(encode_png(pairs))
    assert written <= evaluation_bytes(image_size)
