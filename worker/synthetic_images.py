"""Synthetic images that a job needs at hand, to compare them or to show them: those of a generation, unpublished."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import CheckpointRecord
from worker.devices import device_names
from worker.draws import latent_points
from worker.fast_paths import for_drawing
from worker.sampling import codes_of, load_sampler
from worker.sources.classes import labels_in_turn

DRAWN_AT_ONCE = 256
"""Images between two looks whether to stop."""


def synthetic_images(
    training: str, record: CheckpointRecord, labels: Sequence[str] | None, count: int, seed: int, context: JobContext
) -> NDArray[np.uint8]:
    """Those that a generation with this seed draws first, if it is asked for these labels.

    Args:
        training: Its id.
        record: The checkpoint to draw from.
        labels: Classes that the images take in turn; None where the training has learnt none.
        count: How many.
        seed: Of the latent points.
        context: The job.

    Returns:
        uint8 (count, S, S).

    Raises:
        StopRequested: the job was told to stop.
    """
    fast_paths = for_drawing(context.settings.fast_paths, device_names(context.settings.cpu_devices)[0])
    sample, latent_size, _ = load_sampler(context.store.folder(training), record.step, "float32", fast_paths)
    parts = []
    for first in range(0, count, DRAWN_AT_ONCE):
        if context.should_stop():
            raise StopRequested
        size = min(DRAWN_AT_ONCE, count - first)
        codes = codes_of(labels_in_turn(labels, first, size), record.classes)
        parts.append(sample(latent_points(seed, first, size, latent_size), codes))
        context.progress("generate", first + size, count, "images")
    return np.concatenate(parts)
