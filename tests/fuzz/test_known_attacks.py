"""Files and requests that were made to do harm, by name."""

import os
import subprocess
import sys
import zlib
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from damage import chunk, header, png

from worker.contract.errors import ImageUnreadable, InvalidRequest
from worker.contract.requests import DatasetRequest
from worker.selection import select
from worker.sources.names import NAMES_TOLD
from worker.sources.phantom import Phantom
from worker.sources.pixels import MAX_OTHER_BYTES, PngFile, encode_png, fit_square

BLACK = chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
"""The pixels of a grey picture of 8x8."""

GROWTH = """
import resource, sys
from contextlib import suppress
from pathlib import Path

from worker.contract.errors import ImageUnreadable
from worker.sources.pixels import PngFile


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


sound, *bombs = map(Path, sys.argv[1:])
PngFile(sound).read()
before = peak()
for bomb in bombs:
    with suppress(ImageUnreadable):
        PngFile(bomb).read()
print(peak() - before)
"""
"""Tells by how many bytes the memory of a process grows that reads one picture and then some others."""


def deflated_zeros(megabytes: int) -> bytes:
    """A deflate stream that unfolds to so many megabytes, from a thousandth of them."""
    packer = zlib.compressobj()
    begin, again = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return begin + again * (megabytes - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="others count a process's memory in other units")
def test_what_would_unfold_to_gigabytes_is_not_unfolded(tmp_path: Path) -> None:
    bomb = deflated_zeros(2_000)
    files = {
        "sound": png(header(8, 8), BLACK),
        "pixels": png(header(8, 8), chunk(b"IDAT", bomb)),
        "text": png(header(8, 8), chunk(b"zTXt", b"Comment\0\0" + bomb), BLACK),
        "text of a language": png(header(8, 8), chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb), BLACK),
        "colour profile": png(header(8, 8), chunk(b"iCCP", b"profile\0\0" + bomb), BLACK),
        "two headers": png(header(8, 8), header(30_000, 30_000), chunk(b"IDAT", bomb)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in files]
    grown = subprocess.check_output([sys.executable, "-c", GROWTH, *paths], text=True)
    assert int(grown) < 100 * 2**20


def test_a_second_header_does_not_get_past_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(header(8, 8), header(30_000, 2_500), BLACK))
    with pytest.raises(ImageUnreadable, match="30000 x 2500, above the limit"):
        PngFile(tmp_path / "x.png").read()


@pytest.mark.parametrize("stuffing", [chunk(b"IDAT"), chunk(b"prVt")])
def test_a_file_that_is_far_longer_than_its_pixels_is_not_looked_through(tmp_path: Path, stuffing: bytes) -> None:
    stuffed = png(header(8, 8), stuffing * (MAX_OTHER_BYTES // len(stuffing) + 10), BLACK)
    (tmp_path / "x.png").write_bytes(stuffed)
    with pytest.raises(ImageUnreadable, match="its pixels would fill 80 at the most"):
        PngFile(tmp_path / "x.png").read()


@pytest.mark.parametrize("foreign", [b"PK\x03\x04 and an archive", b"<script>alert(1)</script>", b"%PDF-1.7"])
def test_of_a_file_that_is_also_something_else_only_the_picture_is_taken(tmp_path: Path, foreign: bytes) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (tmp_path / "x.png").write_bytes(encode_png(grey, {"Comment": foreign.decode("latin-1")}) + foreign)
    read = PngFile(tmp_path / "x.png").read()
    np.testing.assert_array_equal(read.pixels, grey)
    assert foreign not in encode_png(fit_square(read, 8, "pad"))


@pytest.mark.parametrize("profile", [b"", b"profile\0", b"profile\0\7"])
@pytest.mark.parametrize("colour", [0, 3])
def test_what_a_decoder_stumbles_over_is_trouble_of_one_file_alone(tmp_path: Path, profile: bytes, colour: int) -> None:
    others = [chunk(b"iCCP", profile), chunk(b"PLTE"), chunk(b"IDAT", b"not deflated")]
    for chunks in permutations(others):
        (tmp_path / "x.png").write_bytes(png(header(8, 8, 8, colour), *chunks))
        with pytest.raises(ImageUnreadable, match="is damaged"):
            PngFile(tmp_path / "x.png").read()


def test_trouble_after_the_pixels_is_trouble_of_one_file_too(tmp_path: Path) -> None:
    grey_of_16_bits = chunk(b"IDAT", zlib.compress(bytes(8 * 17)))
    (tmp_path / "x.png").write_bytes(png(header(8, 8, 16), grey_of_16_bits, chunk(b"iCCP", b"profile\0")))
    with pytest.raises(ImageUnreadable, match="is damaged"):
        PngFile(tmp_path / "x.png").read()


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageUnreadable, match="a pipe or a device"):
        PngFile(tmp_path / "x.png").read()


def test_a_request_of_a_hundred_thousand_wrong_names_is_refused_in_a_few() -> None:
    request = DatasetRequest(source="phantom", where={"labels": [f"Nodul{number}" for number in range(100_000)]})
    with pytest.raises(InvalidRequest) as raised:
        select(Phantom().table, request)
    assert [error.pointer for error in raised.value.errors] == [f"#/where/labels/{n}" for n in range(NAMES_TOLD)]
