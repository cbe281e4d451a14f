"""Draws synthetic images from trainings, in turns of about a second so that a small request passes a large one.

What is drawn is kept in shards of SHARD_IMAGES, each published whole: the pixels as an array, and the same images as
PNG files in a ZIP. A turn goes on where the shards end, on whichever worker it is.
"""

import io
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import CheckpointRecord, read_record
from worker.contract.requests import GenerationRequest
from worker.contract.results import GenerationResult
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name
from worker.contract.space import generation_bytes
from worker.devices import device_names
from worker.draws import latent_points
from worker.fast_paths import FastPaths, for_drawing
from worker.sampling import Sampler, codes_of, load_sampler
from worker.sources.classes import labels_in_turn, labels_to_draw
from worker.sources.pixels import encode_png, tile
from worker.sources.segments import Segment, segments_of

TURN_SECONDS = 1.0
"""A request that arrives waits about so long for the one in hand."""
GRID_IMAGES, GRID_COLUMNS = 64, 8
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""A fixed time stamp, so that equal images make equal archives."""


@dataclass(frozen=True)
class _Source:
    """Some images of a generation, the checkpoint that draws them, and what every file of them says of itself."""

    segment: Segment
    record: CheckpointRecord
    provenance: dict[str, str]

    def within(self, first: int, count: int) -> "_Source":
        return replace(self, segment=self.segment.within(first, count))

    def sampler(self, request: GenerationRequest, context: JobContext, fast_paths: FastPaths) -> tuple[Sampler, int]:
        """What draws, and the size of a latent point."""
        training = context.store.folder(self.segment.training)
        sample, latent_size, _ = load_sampler(training, self.segment.step, request.precision, fast_paths)
        return sample, latent_size

    def draw(self, seed: int, sample: Sampler, latent_size: int) -> NDArray[np.uint8]:
        """Its images: uint8 (count, size, size)."""
        # A network that has learnt one class alone knows no labels.
        codes = codes_of(self._labels() if self.record.classes.names else None, self.record.classes)
        return sample(latent_points(seed, self.segment.first, self.segment.count, latent_size), codes)

    def texts(self) -> Iterator[dict[str, str]]:
        """What the file of each image says."""
        labels = self._labels()
        for place in range(self.segment.count):
            own = {"Index": str(self.segment.first + place)}
            yield self.provenance | own | ({} if labels is None else {"Label": labels[place]})

    def _labels(self) -> list[str] | None:
        return labels_in_turn(self.segment.labels, self.segment.first, self.segment.count)


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
    folder = context.store.folder(context.resource_id)
    sources = [_source(segment, request, context) for segment in segments_of(request)]
    image_size = sources[0].record.image_size
    fast_paths = for_drawing(context.settings.fast_paths, device_names(context.settings.cpu_devices)[0])

    began = time.monotonic()
    seconds = _seconds_so_far(folder)
    missing = [
        shard for shard in range(-(-request.count // SHARD_IMAGES)) if not (folder / archive_name(shard)).exists()
    ]
    labels = {label for source in sources for label in source.segment.labels or ()}
    context.need_room(generation_bytes(min(request.count, len(missing) * SHARD_IMAGES), image_size, labels))
    with ThreadPoolExecutor(1) as publishing:
        published: Future[None] | None = None
        for shard in missing:
            if context.should_stop():
                raise StopRequested
            first = shard * SHARD_IMAGES
            size = min(SHARD_IMAGES, request.count - first)
            parts = [part for part in (source.within(first, size) for source in sources) if part.segment.count]
            loading = time.monotonic()
            samplers = [part.sampler(request, context, fast_paths) for part in parts]
            began += time.monotonic() - loading  # is not part of a turn, or a cold worker would never get to draw
            images = np.concatenate(
                [part.draw(request.seed, *sampler) for part, sampler in zip(parts, samplers, strict=True)]
            )
            if published is not None:
                published.result()
            # While the next shard is drawn.
            texts = [text for part in parts for text in part.texts()]
            published = publishing.submit(_publish_shard, images, shard, texts, context)
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
        provenance={
            name: text
            for name, text in sources[0].provenance.items()
            if all(source.provenance[name] == text for source in sources)
        },
    )


def _source(segment: Segment, request: GenerationRequest, context: JobContext) -> _Source:
    record = read_record(context.store.folder(segment.training), segment.step)
    if request.balance is None:
        segment = replace(segment, labels=labels_to_draw(segment.labels, record.classes, record.family))
    provenance = {
        "Synthetic": "true",
        "Software": "RaGAN",
        "Training": segment.training,
        "Checkpoint": str(record.step),
        "Seed": str(request.seed),
        "Precision": request.precision,
        "Dataset-SHA-256": str(record.dataset_sha256),
    }
    return _Source(segment, record, provenance)


def _publish_shard(images: NDArray[np.uint8], shard: int, texts: Sequence[dict[str, str]], context: JobContext) -> None:
    """The array first, the archive last: whoever sees the archive finds both."""
    array = io.BytesIO()
    np.save(array, images)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for index, (pixels, text) in enumerate(zip(images, texts, strict=True), start=shard * SHARD_IMAGES):
            files.writestr(zipfile.ZipInfo(image_name(index), ZIP_EPOCH), encode_png(pixels, text))
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
