"""Prepare a dataset: select rows of a source, read their pictures, leave them as one array.

What it publishes is described in `worker.dataset`, beside contact-sheet.png, a sample of the images in a grid.
"""

import hashlib
import os
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from worker.context import JobContext, StopRequested
from worker.contract.errors import ImageUnreadable, NoUsableImages
from worker.contract.requests import DatasetRequest
from worker.contract.results import AttritionStep, DatasetResult, Skipped, SkippedImage
from worker.contract.space import dataset_bytes
from worker.dataset import IMAGES, ImagesWriter, write_items
from worker.reading import Picture, Recipe, read_in_order
from worker.selection import ALL_ROWS, FILE_ABSENT, select, summary, without
from worker.sources.base import GreyImage, Source
from worker.sources.items import ITEMS
from worker.sources.pixels import encode_png, fit_square, tile

CONTACT_SHEET = "contact-sheet.png"
CONTACT_SHEET_IMAGES = 64
CONTACT_SHEET_COLUMNS = 8
CONTACT_SHEET_PIXELS = 128
"""Images above this size are reduced to it, so that the sheet stays one to look at."""
SKIPPED_LISTED = 100
"""Skipped images that the result lists; items.csv lists all."""
WORTH_PROCESSES = 256
"""Images from which on starting processes pays: that takes most of a second, an image 5 to 10 ms."""


def prepare(request: DatasetRequest, source: Source, context: JobContext) -> DatasetResult:
    """Make the dataset that a request asks for and publish it.

    Order and content of the array depend on the request and the source alone, not on the number of processes. The
    result's `sha256` and `bytes` are those of the file images.npy.

    Raises:
        InvalidRequest: the request names what the source does not know.
        NoUsableImages: nothing is left to train on; the sentence says what took it.
        StopRequested: the job was told to stop; nothing is published.
        DiskFull: the disk has no room for the images.
        OSError: it had, and has no more, or does not work.
        WorkerDied: a process that reads images did not survive.
    """
    selected = select(source.table, request)
    if not len(selected.rows):
        raise NoUsableImages(_what_took_them(selected.attrition))
    context.need_room(dataset_bytes(len(selected.rows), request.image_size))

    images = context.scratch / IMAGES
    unusable = _write_images(images, request, source, selected.rows.tolist(), context)
    kept = without(selected, source.table, request, list(unusable))
    skipped = tuple(SkippedImage(file=source.table.files[row], reason=reason) for row, reason in unusable.items())
    if not len(kept.rows):
        raise NoUsableImages(
            f"None of the {len(skipped)} selected images can be used; "
            f"of {skipped[0].file} the reason is: {skipped[0].reason} Repair the files, or exclude less."
        )
    items, sheet = context.scratch / ITEMS, context.scratch / CONTACT_SHEET
    write_items(items, source.table, kept, unusable)
    _write_contact_sheet(sheet, images)
    with images.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    result = summary(source, kept).model_copy(
        update={
            "skipped": Skipped(total=len(skipped), items=skipped[:SKIPPED_LISTED]),
            "bytes": images.stat().st_size,
            "sha256": digest,
        }
    )
    for made in (images, items, sheet):
        context.store.publish(made, context.resource_id, made.name)
    return result


def _write_images(
    path: Path, request: DatasetRequest, source: Source, rows: list[int], context: JobContext
) -> dict[int, str]:
    """Write the array of the images that can be used; the rows of the others, each with its reason."""

    def check() -> None:
        if context.should_stop():
            raise StopRequested

    recipe = Recipe(request.image_size, request.fit, digest="duplicate" in request.exclude)
    processes = context.settings.prepare_processes or os.cpu_count() or 1
    handles = (source.image(row) for row in rows)
    pictures = read_in_order(handles, recipe, processes=processes if len(rows) >= WORTH_PROCESSES else 1, check=check)
    objections = _Objections(request.exclude)
    unusable: dict[int, str] = {}
    context.progress("prepare", 0, len(rows), "images")
    with ImagesWriter(path, request.image_size) as writer, closing(pictures):
        for done, (row, picture) in enumerate(zip(rows, pictures, strict=True), start=1):
            if isinstance(picture, ImageUnreadable):
                unusable[row] = picture.detail
            elif objection := objections.to(picture, source.table.files[row]):
                unusable[row] = objection
            else:
                writer.append(picture.square)
            context.progress("prepare", done, len(rows), "images")
    return unusable


class _Objections:
    """What speaks against a picture that could be read, by the checks that the request names."""

    def __init__(self, exclude: Collection[str]) -> None:
        self._exclude = exclude
        self._file_of: dict[bytes, str] = {}

    def to(self, picture: Picture, file: str) -> str | None:
        """The reason to leave it out, None if there is none; it is then known to later duplicates."""
        if picture.colour and "colour" in self._exclude:
            return "It is in colour: its channels differ."
        if picture.blank and "blank" in self._exclude:
            return "It is blank: all its pixels are equal."
        if "duplicate" in self._exclude:
            if picture.digest in self._file_of:
                return f"It is a duplicate: its pixels are those of {self._file_of[picture.digest]}."
            self._file_of[picture.digest] = file
        return None


def _what_took_them(attrition: Sequence[AttritionStep]) -> str:
    """Name the step after which nothing was left, and what to do about it."""
    last = next(step for step in attrition if not step.left)
    if last.step == ALL_ROWS:
        return "The source has no rows at all."
    advice = (
        "put the image files into the source's folder"
        if last.step == FILE_ABSENT
        else "widen the selection; a dry run shows what each step takes"
    )
    return f"Nothing is left after the step {last.step!r}, which took the last {last.removed:,} rows: {advice}."


def _write_contact_sheet(path: Path, images: Path) -> None:
    """A grid of images taken at even distances from the whole array."""
    array = np.load(images, mmap_mode="r")
    shown = np.unique(np.linspace(0, len(array) - 1, CONTACT_SHEET_IMAGES).astype(np.int64))
    size = min(array.shape[1], CONTACT_SHEET_PIXELS)
    tiles = np.stack([fit_square(GreyImage(array[index]), size, "pad") for index in shown])
    path.write_bytes(encode_png(tile(tiles, CONTACT_SHEET_COLUMNS)))
