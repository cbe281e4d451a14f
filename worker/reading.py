"""Reading pictures into squares, in several processes, in order, with a bounded number on their way.

Apart from the stages, so that a process that reads loads numpy, the decoders and little else.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, WorkerDied
from worker.sources.base import GreyImage, ImageHandle
from worker.sources.pixels import fit_square

BATCH_IMAGES = 16
"""Pictures that a process reads before it answers: enough to make sending cheap, few enough to stop soon."""
BATCH_BYTES = 2**20
"""Squares of one answer; large ones come in smaller batches."""
BATCHES_AHEAD = 3
"""Batches per process that are asked for and not yet handed on."""
KEPT_BYTES = 2**24
"""Memory that a process that reads keeps for the next picture; each takes a few megabytes."""
POLL_SECONDS = 0.2
"""How often a wait for a process looks up to see whether to go on."""


@dataclass(frozen=True)
class Recipe:
    """What to make of a picture; `digest` asks for a hash of its pixels as well."""

    size: int
    fit: Literal["pad", "crop"]
    digest: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that could be read: uint8 (size, size), and what was seen of it before it was made so small.

    `digest` is empty where the recipe asks for none; equal ones mean equal pixels.
    """

    square: NDArray[np.uint8]
    colour: bool
    blank: bool
    digest: bytes


def read_in_order(
    handles: Iterable[ImageHandle], recipe: Recipe, *, processes: int, check: Callable[[], None]
) -> Generator[Picture | ImageUnreadable, None, None]:
    """What becomes of each picture, in the order of the handles, which are drawn only as they are needed.

    Args:
        handles: ways to the pictures.
        recipe: what to make of each.
        processes: how many read at a time; 1 reads in this process.
        check: called now and then; what it raises ends the reading at once.

    Raises:
        WorkerDied: one of the processes did not survive.
    """
    batches = _batches(iter(handles), max(1, min(BATCH_IMAGES, BATCH_BYTES // recipe.size**2)))
    if processes == 1:
        keep_freed_memory()
        for batch in batches:
            check()
            yield from read_batch(batch, recipe)
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=begin_process)
    pending: deque[Future[list[Picture | ImageUnreadable]]] = deque()
    try:
        for batch in batches:
            pending.append(pool.submit(read_batch, batch, recipe))
            if len(pending) >= BATCHES_AHEAD * processes:
                yield from _wait(pending.popleft(), check)
        while pending:
            yield from _wait(pending.popleft(), check)
    except BrokenProcessPool as error:
        raise WorkerDied(
            "A process that reads images died, most likely for want of memory: give the worker more, "
            "or set RAGAN_PREPARE_PROCESSES to fewer processes."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def read_batch(handles: Sequence[ImageHandle], recipe: Recipe) -> list[Picture | ImageUnreadable]:
    """Read some pictures one after the other."""
    return [_read(handle, recipe) for handle in handles]


def _read(handle: ImageHandle, recipe: Recipe) -> Picture | ImageUnreadable:
    try:
        image = handle.read()
    except ImageUnreadable as unreadable:
        return unreadable
    return Picture(
        square=fit_square(image, recipe.size, recipe.fit),
        colour=image.colour,
        blank=bool(image.pixels.min() == image.pixels.max()),
        digest=_digest(image) if recipe.digest else b"",
    )


def _digest(image: GreyImage) -> bytes:
    height, width = image.pixels.shape
    digest = hashlib.blake2b(f"{height} x {width} {image.pixels.dtype} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image.pixels).data)
    return digest.digest()


def _batches(handles: Iterator[ImageHandle], images: int) -> Iterator[list[ImageHandle]]:
    while batch := list(islice(handles, images)):
        yield batch


def _wait(
    future: Future[list[Picture | ImageUnreadable]], check: Callable[[], None]
) -> list[Picture | ImageUnreadable]:
    while True:
        check()
        try:
            return future.result(timeout=POLL_SECONDS)
        except TimeoutError:
            continue


def begin_process() -> None:
    """Leave Ctrl-C to the parent, and end when it does: the pool's pipe, open in the siblings too, would not tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def keep_freed_memory() -> None:
    """Have the C library keep what a picture leaves for the next one.

    By itself glibc returns it to the system, which takes a fifth of the time to hand it out again, page by page. Once
    it has freed a block of this size, it keeps as much.
    """
    bytearray(KEPT_BYTES)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
