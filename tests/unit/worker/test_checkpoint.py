from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from worker.checkpoint import load_generator, restore_checkpoint, save_checkpoint
from worker.contract.checkpoints import list_checkpoints, read_record
from worker.contract.errors import CheckpointMissing, UnknownFamily
from worker.contract.resources import Kind
from worker.contract.results import BestCheckpoint

POINTS = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def context(job_context: Callable[..., Any]) -> Any:
    return job_context(Kind.TRAINING.new_id())


@pytest.fixture
def folder(context: Any) -> Any:
    return context.store.folder(context.resource_id)


def networks(family: str) -> tuple[Any, Any]:
    from worker.models.registry import families

    generator = families()[family].generator(families()[family].presets["default"], 0)
    average = tf.keras.models.clone_model(generator)
    average.set_weights([weight + 1 for weight in generator.get_weights()])
    return generator, average


def save(
    context: Any,
    family: str,
    step: int = 10,
    *,
    keep: int = 3,
    ema_decay: float = 0.9,
    best: BestCheckpoint | None = None,
    **state: Any,
) -> Any:
    return save_checkpoint(
        tf.train.Checkpoint(**state),
        context,
        keep=keep,
        clock=lambda: datetime(2024, 5, 1, tzinfo=UTC),
        step=step,
        family=family,
        hyperparameters={"ema_decay": ema_decay},
        image_size=8,
        dataset="ds_0",
        dataset_sha256=None,
        images_seen=40,
        seconds=2.5,
        best=best,
    )


def test_the_record_says_when_and_how_large(context: Any, folder: Any) -> None:
    record = save(context, "tiny", value=tf.Variable(tf.zeros(1000)))
    assert read_record(folder, 10) == record
    assert record.created_at == datetime(2024, 5, 1, tzinfo=UTC)
    files = [file for file in (folder / "checkpoints" / "00000010").iterdir() if file.name != "checkpoint.json"]
    assert record.bytes == sum(file.stat().st_size for file in files) > 4000
    assert set(record.versions) == {"tensorflow", "keras", "numpy"}
    assert list(context.scratch.iterdir()) == []


def test_the_newest_checkpoints_are_kept(context: Any, folder: Any) -> None:
    for step in (1, 2, 10, 3):
        save(context, "tiny", step, keep=2, value=tf.Variable(float(step)))
    assert [info.step for info in list_checkpoints(folder)] == [3, 10]


def test_the_best_is_kept_beside_the_newest_until_there_is_a_better_one(context: Any, folder: Any) -> None:
    kept = []
    for step, best in [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4)]:
        nearest = BestCheckpoint(step=best, metric="frechet_distance", value=10 - best)
        save(context, "tiny", step, keep=2, best=nearest, value=tf.Variable(0.0))
        kept.append([info.step for info in list_checkpoints(folder)])
    assert kept == [[1], [1, 2], [1, 2, 3], [3, 4], [4, 5], [4, 5, 6]]


def test_a_state_comes_back_whole_or_not_at_all(context: Any, folder: Any) -> None:
    save(context, "tiny", value=tf.Variable([1.0, 2.0]))
    value = tf.Variable([0.0, 0.0])
    restore_checkpoint(tf.train.Checkpoint(value=value), folder, 10)
    assert value.numpy().tolist() == [1.0, 2.0]
    with pytest.raises(CheckpointMissing, match="of other networks"):
        restore_checkpoint(tf.train.Checkpoint(value=value, more=tf.Variable(0.0)), folder, 10)


@pytest.mark.parametrize(("ema_decay", "offset"), [(0.9, 1), (0.0, 0)])
def test_images_are_drawn_from_the_average_where_there_is_one(
    context: Any, folder: Any, tiny: str, ema_decay: float, offset: int
) -> None:
    generator, average = networks(tiny)
    state = {"generator": generator, "average": average} if ema_decay else {"generator": generator}
    save(context, tiny, ema_decay=ema_decay, **state)
    loaded = load_generator(folder, 10)
    for ours, theirs in zip(loaded.get_weights(), generator.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs + offset)
    assert loaded(POINTS, training=False).shape == (2, 8, 8, 1)


def test_a_checkpoint_that_is_not_kept_is_missing(context: Any, folder: Any, tiny: str) -> None:
    generator, average = networks(tiny)
    save(context, tiny, generator=generator, average=average)
    with pytest.raises(CheckpointMissing, match=r"no checkpoint at step 20: take one of 10\."):
        load_generator(folder, 20)
    with pytest.raises(CheckpointMissing, match="step 20 is gone"):
        restore_checkpoint(tf.train.Checkpoint(generator=generator), folder, 20)


def test_one_of_other_networks_is_told_from_what_can_be_read(context: Any, folder: Any, tiny: str) -> None:
    generator, average = networks(tiny)
    save(context, tiny, generator=generator)
    with pytest.raises(CheckpointMissing, match=r"step 10 is of other networks: .* Train anew"):
        restore_checkpoint(tf.train.Checkpoint(generator=generator, average=average), folder, 10)
    with pytest.raises(CheckpointMissing, match="step 10 is of other networks"):
        load_generator(folder, 10)


def test_one_that_is_withdrawn_while_it_is_read_is_missing(context: Any, folder: Any, tiny: str) -> None:
    generator, average = networks(tiny)
    save(context, tiny, generator=generator, average=average)
    for file in (folder / "checkpoints" / "00000010").glob("state*"):
        file.unlink()
    with pytest.raises(CheckpointMissing, match="step 10 is gone: take a newer one"):
        load_generator(folder, 10)


def test_a_full_disk_is_an_ordinary_error(context: Any, folder: Any) -> None:
    class FullDisk:
        """A state on a disk that takes no more: TensorFlow reports it like memory that has run out."""

        def write(self, path: str) -> None:
            raise tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(FullDisk(), context, keep=1, step=1)
    assert list_checkpoints(folder) == []


def test_a_family_that_this_worker_lacks_is_named(context: Any, folder: Any) -> None:
    save(context, "somebody-elses", value=tf.Variable(0.0))
    with pytest.raises(UnknownFamily, match="no family 'somebody-elses'"):
        load_generator(folder, 10)
