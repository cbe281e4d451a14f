"""A prepared dataset on disk: what the stage that prepares it writes, and every later one reads.

images.npy   uint8 (images, size, size), rows of the source in their order; made to be memory-mapped
items.csv    a line for every row of the source, chosen or not
"""

import csv
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import NotFound
from worker.contract.requests import ClassField
from worker.selection import Selection
from worker.sources.base import SPLITS, SourceTable
from worker.sources.cells import plain_cell, text_of
from worker.sources.classes import LABEL_SEPARATOR
from worker.sources.items import ITEM_COLUMNS, class_name, read_items

IMAGES = "images.npy"
_LEFT_OUT = len(SPLITS)
"""In place of a part, of an image that is in none."""


@dataclass(frozen=True)
class ImageClasses:
    """Which class each image is of: int32 `codes` index `names`, which are sorted, ages by years."""

    names: tuple[str, ...]
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """The images of a dataset and what is known of them, all in one order.

    `images` is uint8 (images, size, size), memory-mapped; `splits` indexes worker.selection.SPLITS. What takes more
    memory than a byte for an image is read when it is asked for.
    """

    folder: Path
    images: NDArray[np.uint8]
    splits: NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what `prepare` has published; NotFound if there is nothing."""
        try:
            images = np.load(folder / IMAGES, mmap_mode="r")
            splits = np.fromiter((SPLITS.index(item["split"]) for item in read_items(folder)), np.uint8)
        except FileNotFoundError as error:
            raise NotFound(f"The dataset {folder.name} has no images: prepare it first.") from error
        return cls(folder, images, splits)

    @cached_property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The findings of each image."""
        texts = (text_of(item["labels"]) for item in read_items(self.folder))
        return tuple(tuple(text.split(LABEL_SEPARATOR)) if text else () for text in texts)

    @cached_property
    def patients(self) -> NDArray[np.int64]:
        """The patient of each image."""
        return np.fromiter((int(item["patient"]) for item in read_items(self.folder)), np.int64)

    @property
    def image_size(self) -> int:
        """Pixels on a side."""
        return int(self.images.shape[1])

    def indices(self, split: str) -> NDArray[np.int64]:
        """Places in `images` of the images of `train`, `validation` or `test`."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def classes(self, by: ClassField) -> ImageClasses:
        """The class of each image by a field; its name is that of the result's counts.

        By `labels` it is the whole list of findings, as items.csv has it, and NO_FINDING of an empty one.
        """
        of_images = [class_name(item, by) for item in read_items(self.folder)]
        # Of decades, the shorter name is the younger one.
        names = sorted(set(of_images), key=lambda name: (len(name) if by == "age_decade" else 0, name))
        code_of = {name: code for code, name in enumerate(names)}
        return ImageClasses(tuple(names), np.fromiter(map(code_of.__getitem__, of_images), np.int32))

    def of_classes(self, by: ClassField, names: Collection[str]) -> Self:
        """The same images, with those of these classes alone in its parts."""
        found = self.classes(by)
        codes = [code for code, name in enumerate(found.names) if name in names]
        return replace(self, splits=np.where(np.isin(found.codes, codes), self.splits, np.uint8(_LEFT_OUT)))


class ImagesWriter:
    """Writes images.npy one image after the other, so that their number need not be known and memory stays flat.

    Written, not mapped: on a full disk a write is an error, where a touch of a mapped page kills the process.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.count = 0
        self._size = size
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:
            with suppress(OSError):  # the file is of no use any more, and the first error is the one to tell
                self._file.close()
            return
        with self._file:
            self._file.seek(0)
            self._write_header()

    def append(self, image: NDArray[np.uint8]) -> None:
        """Add uint8 (size, size); OSError if the disk does not take it."""
        self._file.write(image.tobytes())
        self.count += 1

    def _write_header(self) -> None:
        """Of one length whatever the count: NumPy leaves room for the first axis to grow."""
        shape = (self.count, self._size, self._size)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def write_items(path: Path, table: SourceTable, selection: Selection, unusable: Mapping[int, str]) -> None:
    """Write items.csv; `unusable` gives, for each row that was chosen and has no image, the reason."""
    split = np.full(len(table), "", object)
    split[selection.rows] = np.array(SPLITS, object)[selection.split]
    index = np.full(len(table), "", object)
    index[selection.rows] = np.arange(len(selection.rows))
    findings = {bits: plain_cell(LABEL_SEPARATOR.join(table.labels_in(bits))) for bits in set(table.labels.tolist())}
    columns = (
        map(plain_cell, table.files),
        table.patients.tolist(),
        [findings[bits] for bits in table.labels.tolist()],
        np.array([plain_cell(name) for name in table.view_names], object)[table.views],
        np.array([plain_cell(name) for name in table.sex_names], object)[table.sexes],
        ["" if age < 0 else age for age in table.ages.tolist()],
        split,
        index,
        [unusable.get(row) or selection.reason(row) for row in range(len(table))],
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ITEM_COLUMNS)
        writer.writerows(zip(*columns, strict=True))
