"""Snapshots: the picture grid of the same latent points at one step after the other."""

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext
from worker.contract.snapshots import snapshot_name, snapshot_steps
from worker.sources.pixels import encode_png, tile

TILES = 16
COLUMNS = 4


def publish_snapshot(images: NDArray[np.float32], step: int, context: JobContext, text: dict[str, str]) -> None:
    """Publish images (16, S, S) in [0, 1] as one PNG, black at 0 and white at 1 in every tile and at every step.

    Args:
        images: From the first 16 latent points of the training's seed.
        step: Which step they are of.
        context: The training's job.
        text: What the file says of itself, in PNG text chunks.
    """
    grey = np.rint(images.clip(0.0, 1.0) * 255.0).astype(np.uint8)
    context.store.publish_bytes(encode_png(tile(grey, COLUMNS), text), context.resource_id, snapshot_name(step))
    context.emit("snapshot", {"step": step})


def withdraw_snapshots_after(step: int, context: JobContext) -> None:
    """Take back the snapshots of steps that a run took and, since it died before a checkpoint, did not take."""
    for taken in snapshot_steps(context.store.folder(context.resource_id)):
        if taken > step:
            context.store.withdraw(context.resource_id, snapshot_name(taken))
