"""Draws synthetic images from a training, in turns of about a second so that a small request passes a large one.

What is drawn is kept in shards of SHARD_IMAGES, each published whole: the pixels as an array, and the same images as
PNG files in a ZIP. A turn goes on where the shards end, on whichever worker it is.
"""

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.checkpoint import load_generator
from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import read_record
from worker.contract.errors import CheckpointMissing, InvalidRequest
from worker.contract.fast_paths import FastPath
from worker.contract.requests import GenerationRequest
from worker.contract.results import GenerationResult
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name
from worker.contract.space import generation_bytes
from worker.devices import device_names
from worker.draws import latent_points
from worker.fast_paths import FastPaths, for_drawing, taking
from worker.models.networks.folding import fold_batch_norm
from worker.precision import Precision, computing_in
from worker.sources.pixels import encode_png, tile

TURN_SECONDS = 1.0
"""A request that arrives waits about so long for the one in hand."""
CPU_SLICE, GPU_SLICE = 8, 256
"""Images per call of the network, padded to it: another batch size may round differently, and pixels with it."""
GRID_IMAGES, GRID_COLUMNS = 64, 8
WARM_MODELS = 4
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""A fixed time stamp, so that equal images make equal archives."""

Sampler = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def generate(
    request: GenerationRequest, context: JobContext, *, turn_seconds: float = TURN_SECONDS
) -> GenerationResult | None:
    """Draw until the turn is over or all is done.

    Returns:
        The result once every image is there, None while some are missing.

    Raises:
        InvalidRequest: the training takes no labels.
        CheckpointMissing: the checkpoint is not kept any more.
        DiskFull: the disk has no room for the images.
        StopRequested: the job was told to stop.
    """
    if request.labels is not None:
        raise InvalidRequest.at("#/labels", "This family does not take labels: leave `labels` out.")
    if not isinstance(request.checkpoint, int):
        raise CheckpointMissing("The checkpoint was not resolved when the generation was asked for.")
    folder = context.store.folder(context.resource_id)
    training = context.store.folder(request.training)
    provenance = _provenance(request, request.checkpoint, training)
    fast_paths = for_drawing(context.settings.fast_paths, device_names(context.settings.cpu_devices)[0])
    sample, latent_size, image_size = _sampler(training, request.checkpoint, request.precision, fast_paths)
    began = time.monotonic()  # loading a model is not part of a turn, or a cold worker would never get to draw

    seconds = _seconds_so_far(folder)
    missing = [
        shard for shard in range(-(-request.count // SHARD_IMAGES)) if not (folder / archive_name(shard)).exists()
    ]
    context.need_room(generation_bytes(min(request.count, len(missing) * SHARD_IMAGES), image_size))
    with ThreadPoolExecutor(1) as publishing:
        published: Future[None] | None = None
        for shard in missing:
            if context.should_stop():
                raise StopRequested
            first = shard * SHARD_IMAGES
            size = min(SHARD_IMAGES, request.count - first)
            images = sample(latent_points(request.seed, first, size, latent_size))
            if published is not None:
                published.result()
            # While the next shard is drawn.
            published = publishing.submit(_publish_shard, images, shard, first, provenance, context)
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


@lru_cache(maxsize=WARM_MODELS)
def _sampler(training: Path, step: int, precision: Precision, fast_paths: FastPaths) -> tuple[Sampler, int, int]:
    """A training's generator at a step, ready to draw; the last few stay loaded."""
    with computing_in(precision), taking(fast_paths):
        network = load_generator(training, step)
        return sampler_of(network, fast_paths), network.input_shape[-1], network.output_shape[1]


def sampler_of(network: keras.Model, fast_paths: FastPaths) -> Sampler:
    """Draws uint8 images (B, S, S) for latent points (B, latent_size), of any number, by a network as it is now."""
    folded = fold_batch_norm(network) if FastPath.FOLDED_BATCH_NORM in fast_paths else network
    size, latent_size = slice_size(), network.input_shape[-1]

    def to_grey(latents: tf.Tensor) -> tf.Tensor:
        images = tf.cast(folded(latents, training=False), tf.float32)
        return tf.cast(tf.round(255.0 * tf.clip_by_value(images, 0.0, 1.0)), tf.uint8)[..., 0]

    draw = tf.function(to_grey, autograph=False, input_signature=[tf.TensorSpec((size, latent_size), tf.float32)])

    def draw_slice(part: NDArray[np.float32]) -> NDArray[np.uint8]:
        padded = np.zeros((size, latent_size), np.float32)
        padded[: len(part)] = part
        images: NDArray[np.uint8] = draw(tf.constant(padded)).numpy()[: len(part)]
        return images

    def sample(latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        slices = [latents[start : start + size] for start in range(0, len(latents), size)]
        with ThreadPoolExecutor(_slices_at_once()) as threads:
            return np.concatenate(list(threads.map(draw_slice, slices)))

    return sample


def slice_size() -> int:
    """Images per call of the network on this worker's kind of device."""
    return GPU_SLICE if _on_gpu() else CPU_SLICE


def _slices_at_once() -> int:
    """Calls of the network that run side by side: on a CPU, one alone leaves cores idle between its operations."""
    return 1 if _on_gpu() else os.cpu_count() or 1


def _on_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def _provenance(request: GenerationRequest, step: int, training: Path) -> dict[str, str]:
    """What every file says of itself."""
    return {
        "Synthetic": "true",
        "Software": "RaGAN",
        "Training": request.training,
        "Checkpoint": str(step),
        "Seed": str(request.seed),
        "Precision": request.precision,
        "Dataset-SHA-256": str(read_record(training, step).dataset_sha256),
    }


def _publish_shard(
    images: NDArray[np.uint8], shard: int, first: int, provenance: dict[str, str], context: JobContext
) -> None:
    """The array first, the archive last: whoever sees the archive finds both."""
    array = io.BytesIO()
    np.save(array, images)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for index, pixels in enumerate(images, start=first):
            picture = encode_png(pixels, provenance | {"Index": str(index)})
            files.writestr(zipfile.ZipInfo(image_name(index), ZIP_EPOCH), picture)
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
