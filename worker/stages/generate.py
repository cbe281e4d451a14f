"""Draws synthetic images from a training, in turns of about a second so that a small request passes a large one.

What is drawn is kept in shards of SHARD_IMAGES, each published whole: the pixels as an array, and the same images as
PNG files in a ZIP. A turn goes on where the shards end, on whichever worker it is.
"""

import io
import json
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import CheckpointRecord, read_record
from worker.contract.errors import CheckpointMissing
from worker.contract.requests import GenerationRequest
from worker.contract.results import GenerationResult
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name
from worker.contract.space import generation_bytes
from worker.devices import device_names
from worker.draws import latent_points
from worker.fast_paths import for_drawing
from worker.sampling import codes_of, load_sampler
from worker.sources.classes import labels_in_turn, labels_to_draw
from worker.sources.pixels import encode_png, tile

TURN_SECONDS = 1.0
"""A request that arrives waits about so long for the one in hand."""
GRID_IMAGES, GRID_COLUMNS = 64, 8
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""A fixed time stamp, so that equal images make equal archives."""


def generate(
    request: GenerationRequest, context: JobContext, *, turn_seconds: float = TURN_SECONDS
) -> GenerationResult | None:
    """Draw until the turn is over or all is done.

    Returns:
        The result once every image is there, None while some are missing.

    Raises:
        InvalidRequest: the training has not learnt the labels.
        CheckpointMissing: the checkpoint is not kept any more.
        DiskFull: the disk has no room for the images.
        StopRequested: the job was told to stop.
    """
    if not isinstance(request.checkpoint, int):
        raise CheckpointMissing("The checkpoint was not resolved when the generation was asked for.")
    folder = context.store.folder(context.resource_id)
    training = context.store.folder(request.training)
    record = read_record(training, request.checkpoint)
    labels = labels_to_draw(request.labels, record.classes, record.family)
    provenance = _provenance(request, record)
    fast_paths = for_drawing(context.settings.fast_paths, device_names(context.settings.cpu_devices)[0])
    sample, latent_size, image_size = load_sampler(training, request.checkpoint, request.precision, fast_paths)
    began = time.monotonic()  # loading a model is not part of a turn, or a cold worker would never get to draw

    seconds = _seconds_so_far(folder)
    missing = [
        shard for shard in range(-(-request.count // SHARD_IMAGES)) if not (folder / archive_name(shard)).exists()
    ]
    context.need_room(generation_bytes(min(request.count, len(missing) * SHARD_IMAGES), image_size, labels))
    with ThreadPoolExecutor(1) as publishing:
        published: Future[None] | None = None
        for shard in missing:
            if context.should_stop():
                raise StopRequested
            first = shard * SHARD_IMAGES
            size = min(SHARD_IMAGES, request.count - first)
            shown = labels_in_turn(labels, first, size)
            images = sample(latent_points(request.seed, first, size, latent_size), codes_of(shown, record.classes))
            if published is not None:
                published.result()
            # While the next shard is drawn.
            published = publishing.submit(_publish_shard, images, shard, first, shown, provenance, context)
            context.progress("generate", first + size, request.count, "images")
            if time.monotonic() - began >= turn_seconds and shard != missing[-1]:
                published.result()
                _keep_seconds(context, seconds + time.monotonic() - began)
                return None
        if published is not None:
            published.result()

    _publish_grid(folder, request.count, context)
    seconds += time.monotonic() - began
    return GenerationResult(
        count=request.count,
        image_size=image_size,
        seconds=round(seconds, 3),
        images_per_second=round(request.count / seconds, 1),
        fast_paths=tuple(sorted(fast_paths)),
        provenance=provenance,
    )


def _provenance(request: GenerationRequest, record: CheckpointRecord) -> dict[str, str]:
    """What every file says of itself."""
    return {
        "Synthetic": "true",
        "Software": "RaGAN",
        "Training": request.training,
        "Checkpoint": str(record.step),
        "Seed": str(request.seed),
        "Precision": request.precision,
        "Dataset-SHA-256": str(record.dataset_sha256),
    }


def _publish_shard(
    images: NDArray[np.uint8],
    shard: int,
    first: int,
    labels: Sequence[str] | None,
    provenance: dict[str, str],
    context: JobContext,
) -> None:
    """The array first, the archive last: whoever sees the archive finds both."""
    array = io.BytesIO()
    np.save(array, images)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for place, pixels in enumerate(images):
            index = first + place
            own = {"Index": str(index)} | ({} if labels is None else {"Label": labels[place]})
            files.writestr(zipfile.ZipInfo(image_name(index), ZIP_EPOCH), encode_png(pixels, provenance | own))
    context.store.publish_bytes(array.getvalue(), context.resource_id, array_name(shard))
    context.store.publish_bytes(archive.getvalue(), context.resource_id, archive_name(shard))


def _publish_grid(folder: Path, count: int, context: JobContext) -> None:
    shards = range(-(-min(count, GRID_IMAGES) // SHARD_IMAGES))
    images = np.concatenate([np.load(folder / array_name(shard)) for shard in shards])[:GRID_IMAGES]
    context.store.publish_bytes(encode_png(tile(images, GRID_COLUMNS)), context.resource_id, "grid.png")


def _seconds_so_far(folder: Path) -> float:
    try:
        return float(json.loads((folder / "turns.json").read_bytes())["seconds"])
    except FileNotFoundError:
        return 0.0


def _keep_seconds(context: JobContext, seconds: float) -> None:
    context.store.publish_bytes(json.dumps({"seconds": seconds}).encode(), context.resource_id, "turns.json")
