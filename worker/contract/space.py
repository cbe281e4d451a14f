"""Room in the store: what a piece of work will take of it, and what to say where there is not enough."""

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from worker.contract.errors import DiskFull, StoreUnavailable

FULL = (errno.ENOSPC, errno.EDQUOT)
PNG_OVERHEAD_BYTES = 600
"""At most, of a synthetic image: what its file says of itself, and its entry in an archive."""
LABEL_CHUNK_BYTES = 22
"""Of the part of a PNG that holds a label, beside its text."""
CELL_OVERHEAD_BYTES = 2_000
"""Of what a classifier of a study told, beside the probabilities."""
PREDICTION_BYTES, PROBABILITY_BYTES = 200, 25
"""As text, of an image and of each of its classes, in a table of predictions."""
FIGURE_BYTES = 2_000_000
"""Of the curve of a study as pictures, and its small tables."""


def dataset_bytes(images: int, image_size: int) -> int:
    """What the array of a dataset takes: 8-bit images of `image_size` pixels on a side."""
    return images * image_size**2


def generation_bytes(count: int, image_size: int, labels: Iterable[str] | None = None) -> int:
    """What a generation takes at most: each image once in an array and once as a PNG that could not be compressed.

    Where images have labels, each is taken for the longest of them.
    """
    label_bytes = max((LABEL_CHUNK_BYTES + len(label.encode()) for label in labels or ()), default=0)
    return count * (2 * image_size**2 + PNG_OVERHEAD_BYTES + label_bytes)


def evaluation_bytes(image_size: int) -> int:
    """What the pictures of an evaluation take at most, each of up to 64 images that could not be compressed."""
    return 2 * 64 * image_size**2


def reader_study_bytes(count: int, image_size: int) -> int:
    """What the images of a reader study take, `count` of either kind; what is written of them is small beside that."""
    return 2 * count * image_size**2


def study_bytes(*, images: int, image_size: int, classes: int, folds: int, largest_amount: int, cells: int) -> int:
    """What a study takes at most, without the state of the generator in training.

    Args:
        images: Of all classes, each of which is validated with and tested on in one fold.
        image_size: Pixels on a side.
        classes: How many are told apart.
        folds: How many there are.
        largest_amount: Synthetic images of each class and fold.
        cells: Classifiers of one fold.
    """
    synthetic = folds * classes * largest_amount * image_size**2
    probabilities = 2 * images * classes * 8 * cells + folds * cells * CELL_OVERHEAD_BYTES
    predictions = images * cells * (PREDICTION_BYTES + PROBABILITY_BYTES * classes)
    return synthetic + probabilities + predictions + 3 * 8 * images * folds + FIGURE_BYTES


def check_room(root: Path, needed: int) -> None:
    """DiskFull if the file system of the store at `root` has fewer than `needed` bytes left for this user.

    What other jobs are about to write is not counted: a job may still run out of room.
    """
    if (free := _free(root)) < needed:
        raise _disk_full(needed, free)


def disk_full(root: Path, needed: int) -> DiskFull:
    """The error of work that takes `needed` bytes of the store at `root`, with what is free there now."""
    return _disk_full(needed, _free(root))


def _disk_full(needed: int, free: int) -> DiskFull:
    return DiskFull(
        f"The disk of the store is full: {_size(needed)} are needed and {_size(free)} are free. "
        "Delete what is not needed any more, or ask for less."
    )


def trouble(root: Path, error: OSError, needed: int) -> StoreUnavailable:
    """What to say of a file below `root` that could not be read or written while `needed` bytes were to be written."""
    if error.errno in FULL:
        return disk_full(root, needed)
    name = f" {error.filename}" if error.filename else ""
    return StoreUnavailable(f"The file{name} could not be read or written ({error.strerror}): mend the disk of {root}.")


def _free(root: Path) -> int:
    """Bytes, also where the store, which is made when it is first written to, is not there yet."""
    return shutil.disk_usage(next(each for each in (root, *root.parents) if each.exists())).free


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
