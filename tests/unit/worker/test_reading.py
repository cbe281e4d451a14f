"""Pictures are read in order, a bounded number at a time, and trouble in a process comes out as a sentence."""

import os
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.contract.errors import ImageUnreadable, WorkerDied
from worker.reading import BATCH_IMAGES, BATCHES_AHEAD, Picture, Recipe, read_in_order
from worker.sources.base import GreyImage
from worker.sources.pixels import PngFile, encode_png

RECIPE = Recipe(size=8, fit="pad")


@dataclass(frozen=True)
class Flat:
    """A picture of one grey."""

    grey: int

    def read(self) -> GreyImage:
        return GreyImage(np.full((8, 8), self.grey, np.uint8))


@dataclass(frozen=True)
class Unreadable:
    reason: str

    def read(self) -> GreyImage:
        raise ImageUnreadable(self.reason)


class Deadly:
    """A picture that kills the process that reads it, as the kernel does when memory is short."""

    def read(self) -> GreyImage:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Curious:
    """A picture that tells what the process that reads it has loaded."""

    def read(self) -> GreyImage:
        raise ImageUnreadable(" ".join(sorted(sys.modules)))


class Faults:
    """A picture that tells how often the system had to give the process that reads it a page of memory."""

    def read(self) -> GreyImage:
        raise ImageUnreadable(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt))


class Stop(Exception):
    """What the caller raises to end the reading."""


def go_on() -> None:
    """Nothing stands against reading on."""


def stop() -> None:
    raise Stop


@pytest.mark.parametrize("processes", [1, 2])
def test_the_order_is_that_of_the_handles_and_failures_keep_their_place(processes: int) -> None:
    handles = [Unreadable(f"Number {n}.") if n % 10 == 3 else Flat(n) for n in range(100)]
    read = list(read_in_order(handles, RECIPE, processes=processes, check=go_on))
    for number, picture in enumerate(read):
        if number % 10 == 3:
            assert isinstance(picture, ImageUnreadable)
            assert picture.detail == f"Number {number}."
        else:
            assert isinstance(picture, Picture)
            assert (picture.square == number).all()
            assert picture.blank
    assert len(read) == 100


def test_equal_digests_mean_equal_pixels_of_equal_shape() -> None:
    @dataclass(frozen=True)
    class Shown:
        image: GreyImage

        def read(self) -> GreyImage:
            return self.image

    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    variants: list[Any] = [pixels, pixels.copy(), pixels.reshape(4, 16), pixels.T, pixels.astype(np.float32)]
    recipe = Recipe(size=8, fit="pad", digest=True)
    read = read_in_order([Shown(GreyImage(each)) for each in variants], recipe, processes=1, check=go_on)
    digests = [picture.digest for picture in read if isinstance(picture, Picture)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == len(variants) - 1


@pytest.mark.parametrize(("processes", "ahead"), [(1, BATCH_IMAGES), (2, 2 * BATCHES_AHEAD * BATCH_IMAGES)])
def test_however_many_images_there_are_only_so_many_are_on_their_way(processes: int, ahead: int) -> None:
    drawn = 0

    def endless() -> Iterator[Flat]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Flat(7)

    pictures = read_in_order(endless(), RECIPE, processes=processes, check=go_on)
    for handed_on in range(1, 500):
        next(pictures)
        assert drawn <= handed_on + ahead
    pictures.close()


def test_large_pictures_come_in_smaller_batches() -> None:
    drawn = []
    handles = (drawn.append(n) or Flat(n) for n in range(8))  # type: ignore[func-returns-value]  # append is the point
    next(read_in_order(handles, Recipe(size=1024, fit="pad"), processes=1, check=go_on))
    assert len(drawn) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_the_caller_can_end_it(processes: int) -> None:
    with pytest.raises(Stop):
        list(read_in_order([Flat(1)] * 100, RECIPE, processes=processes, check=stop))


def test_a_process_that_dies_is_told_in_a_sentence() -> None:
    with pytest.raises(WorkerDied, match="RAGAN_PREPARE_PROCESSES"):
        list(read_in_order([Flat(1), Deadly()] * 50, RECIPE, processes=2, check=go_on))


def test_a_reading_process_loads_neither_tensorflow_nor_the_web() -> None:
    told = next(read_in_order([Curious()], RECIPE, processes=2, check=go_on))
    assert isinstance(told, ImageUnreadable)
    loaded = set(told.detail.split())
    assert "worker.reading" in loaded
    assert not loaded & {"tensorflow", "keras", "fastapi", "redis", "rq"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep what was freed, or are not told how")
def test_a_picture_is_read_into_the_memory_of_the_one_before(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
    (tmp_path / "x.png").write_bytes(encode_png(noise))
    picture, images = PngFile(tmp_path / "x.png"), 8
    handles = [*[picture] * 4, Faults(), *[picture] * images, Faults()]
    assert len(handles) <= BATCH_IMAGES
    read = read_in_order(handles, RECIPE, processes=2, check=go_on)
    before, after = [int(told.detail) for told in read if isinstance(told, ImageUnreadable)]
    pages = noise.nbytes // resource.getpagesize()
    assert after - before < images * pages / 2


def test_reading_processes_end_with_their_parent(tmp_path: Path) -> None:
    """They share its standard output, which is at its end once the last of them is gone."""
    script = tmp_path / "orphans.py"
    script.write_text(
        "import threading\n"
        "from worker.reading import Recipe, read_in_order\n"
        "class Stuck:\n"
        "    def read(self):\n"
        "        print('reading', flush=True)\n"
        "        threading.Event().wait()\n"
        "if __name__ == '__main__':\n"
        "    list(read_in_order([Stuck()] * 64, Recipe(8, 'pad'), processes=2, check=lambda: None))\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert [parent.stdout.readline(), parent.stdout.readline()] == ["reading\n"] * 2
        parent.kill()
        assert parent.stdout.read() == ""
