"""What a study keeps is what it finds again."""

import numpy as np
import pytest

from worker.contract.resources import Kind
from worker.contract.study_cells import Cell
from worker.study.folds import Fold
from worker.study.record import StudyRecord, Told

CELL = Cell(1, "real_synthetic", 500)


@pytest.fixture
def record(job_context) -> StudyRecord:
    return StudyRecord(job_context(Kind.STUDY.new_id()))


def test_at_first_there_is_nothing(record) -> None:
    assert record.folds() is record.told(CELL) is record.synthetic(0, 0) is None
    assert (record.generator_seconds(0, 0), record.unfinished_steps(0, 0), record.bytes) == (0, [], 0)


def test_folds_are_found_again(record) -> None:
    folds = [Fold(*(np.array(part) for part in parts)) for parts in (([0, 1], [2], [3]), ([2, 3], [0], [1]))]
    record.keep_folds(folds)
    for kept, fold in zip(record.folds(), folds, strict=True):
        for part in ("train", "validation", "test"):
            assert getattr(kept, part).tolist() == getattr(fold, part).tolist()


def test_what_a_classifier_told_is_found_again_bit_for_bit(record) -> None:
    chance = np.random.default_rng(1)
    told = Told(chance.uniform(size=(3, 2)), chance.uniform(size=(4, 2)), seconds=1.5, best_epoch=7)
    record.keep_told(CELL, told)
    found = record.told(CELL)
    assert np.array_equal(found.validation, told.validation)
    assert np.array_equal(found.test, told.test)
    assert (found.seconds, found.best_epoch) == (1.5, 7)
    assert record.told(Cell(0, "real_synthetic", 500)) is record.told(Cell(1, "synthetic", 500)) is None


def test_synthetic_images_are_found_again_and_the_states_before_them_are_gone(record, job_context) -> None:
    context = record._context
    for step in (200, 400):
        context.store.publish_bytes(b"state", context.resource_id, f"{record.unfinished_name(0, 1)}/{step:08d}/state")
    assert record.unfinished_steps(0, 1) == [200, 400]
    images = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
    np.save(drawn := context.scratch / "drawn.npy", images)
    assert np.array_equal(record.keep_synthetic(0, 1, drawn, 2.5), images)
    assert np.array_equal(record.synthetic(0, 1), images)
    assert isinstance(record.synthetic(0, 1), np.memmap)
    assert (record.generator_seconds(0, 1), record.unfinished_steps(0, 1)) == (2.5, [])
    assert record.synthetic(0, 0) is record.synthetic(1, 1) is None


def test_states_of_all_generators_can_be_let_go_of(record) -> None:
    context = record._context
    for code in (0, 1):
        context.store.publish_bytes(b"state", context.resource_id, f"{record.unfinished_name(2, code)}/00000200/state")
    record.withdraw_states(2, 1)
    assert (record.unfinished_steps(2, 0), record.unfinished_steps(2, 1)) == ([200], [])
    record.withdraw_unfinished()
    assert list(context.store.folder(context.resource_id).iterdir()) == []
