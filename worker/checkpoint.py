"""Writes checkpoints of a training, reads them back, and loads the network that images are drawn from.

A checkpoint is a folder: TensorFlow's own files, whose names start with STATE, and the record beside them.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from worker.context import JobContext
from worker.contract.checkpoints import RECORD_FILE, CheckpointRecord, checkpoint_name, list_checkpoints, read_record
from worker.contract.errors import CheckpointMissing
from worker.contract.live import utc_now
from worker.models import registry
from worker.trainer import AVERAGE, GENERATOR, network_state

STATE = "state"


def save_checkpoint(
    state: tf.train.Checkpoint,
    context: JobContext,
    *,
    keep: int,
    clock: Callable[[], datetime] = utc_now,
    **record: Any,
) -> CheckpointRecord:
    """Write a state and publish it whole, then take back all but the newest `keep` and the best.

    Args:
        state: The networks and optimisers, as `Trainer.state` gives them.
        context: Whose store and scratch folder to use.
        keep: How many of the newest remain, this one included.
        clock: When it is.
        record: The fields of CheckpointRecord that the training alone knows.

    Raises:
        OSError: the disk is full, or does not work.
    """
    made = context.scratch / "checkpoint"
    write_state(state, made)
    complete = CheckpointRecord(
        **record,
        created_at=clock(),
        bytes=sum(file.stat().st_size for file in made.iterdir()),
        versions={"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    )
    (made / RECORD_FILE).write_text(complete.model_dump_json(indent=2))
    context.store.publish(made, context.resource_id, checkpoint_name(complete.step))
    for old in list_checkpoints(context.store.folder(context.resource_id))[:-keep]:
        if not old.best:
            context.store.withdraw(context.resource_id, checkpoint_name(old.step))
    return complete


def write_state(state: tf.train.Checkpoint, made: Path) -> None:
    """Write a state into a new folder; OSError if the disk is full, or does not work."""
    made.mkdir()
    try:
        state.write(str(made / STATE))
    except tf.errors.ResourceExhaustedError as error:  # TensorFlow's word for a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(made)) from error


def read_state(state: tf.train.Checkpoint, kept: Path) -> None:
    """Read all of a state from its folder."""
    state.read(str(kept / STATE)).assert_consumed()


def restore_checkpoint(state: tf.train.Checkpoint, training: Path, step: int) -> None:
    """Read all of a state from the checkpoint at a step; CheckpointMissing if it is not kept, or of other networks."""
    with _reading(state, training, step) as found:
        found.assert_consumed()


def load_generator(training: Path, step: int) -> keras.Model:
    """The network to draw images from, of the checkpoint at a step in a training's folder.

    Latent points (B, latent_size) in [-1, 1], and class codes if it has learnt classes, to images (B, S, S, 1) in
    [0, 1]; the average of the generator where the training kept one.

    Raises:
        CheckpointMissing: the checkpoint is not kept, or of other networks.
        UnknownFamily: this worker does not have the family.
    """
    record = read_record(training, step)
    family = registry.family(record.family)
    hyperparameters = family.hyperparameters.model_validate(record.hyperparameters)
    network = family.generator(hyperparameters, len(record.classes.names))
    state = tf.train.Checkpoint(**network_state(AVERAGE if hyperparameters.ema_decay else GENERATOR, network))
    with _reading(state, training, step) as found:
        found.assert_existing_objects_matched().expect_partial()
    return network


@contextmanager
def _reading(state: tf.train.Checkpoint, training: Path, step: int) -> Iterator[Any]:
    """What TensorFlow says of a state that was read; within, what is amiss is told."""
    name = f"The checkpoint of {training.name} at step {step}"
    try:
        yield state.read(str(training / checkpoint_name(step) / STATE))
    except tf.errors.NotFoundError as error:
        raise CheckpointMissing(f"{name} is gone: take a newer one.") from error
    except AssertionError as error:  # TensorFlow's word for variables that are in one of the two alone
        raise CheckpointMissing(
            f"{name} is of other networks: RaGAN, or the family, has changed since. Train anew, or take the version "
            "that wrote it."
        ) from error
