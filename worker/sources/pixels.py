"""Pictures in and out: PNG and JPEG files to grey, grey to squares, grids, PNG and GIF.

How a file becomes one grey channel, 0 black to 255 white, never stretched to what the picture happens to hold:

* 8-bit grey is taken as it is; 1, 2 and 4-bit grey and palettes by the values they stand for.
* 16-bit grey over its whole range: v / 257.
* Colour whose channels are equal everywhere is that channel. Channels that differ give ITU-R BT.601 luma,
  0.299 R + 0.587 G + 0.114 B, and mark the picture as `colour`. Of 16 bits a channel the upper 8 count.
* Transparency is ignored: no radiograph means it, and the RGBA files of ChestX-ray14 are opaque. So is a note that a
  JPEG is to be turned when it is shown.
"""

import io
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from worker.contract.errors import ImageUnreadable
from worker.sources.base import GreyImage
from worker.sources.files import open_plain

MAX_PIXELS = 64_000_000
"""Of one file. The largest detectors have about 20 million; a small file that unfolds to far more is an attack."""
MAX_PASSED_PIXELS = 2**30
"""Of one file, over all passes: a few bytes make a progressive JPEG go over all of its pixels once more."""
MAX_OTHER_BYTES = 2**24
"""Of one file beyond its pixels as they are without compression: profiles and notes, or stuffing to keep us busy."""
BAND_PIXELS = 2**18
"""Pixels whose luma is computed at a time."""
SEPARATOR = 2
"""Pixels between the tiles of a grid."""
SEPARATOR_GREY = 96
LAST_FRAME_TIMES = 12
"""How many times as long as the others the last frame of a time-lapse stays."""

_HEADER = struct.Struct(">16sIIBB")
"""Of a PNG: how it begins, width, height, bits of a sample, kind of colour."""
_BEGINNING = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By kind of colour."""
_FAST_MODES = {(8, 0): "mono", (8, 2): "rgb", (8, 6): "rgba"}
"""The faster decoder's names for what it takes, by bits of a sample and kind of colour as the header has them."""


@dataclass(frozen=True)
class PngFile:
    """The way to a picture in a PNG file, which links may not lead out of the folder `within`."""

    path: Path
    within: Path | None = None

    def read(self) -> GreyImage:
        """Decode by the rule of this module.

        Raises:
            ImageUnreadable: the file is absent, elsewhere, empty, truncated, not a PNG, or too large.
        """
        try:
            with open_plain(self.path, within=self.within, refusal=ImageUnreadable) as file:
                _check_sizes(file.read(_HEADER.size), os.fstat(file.fileno()).st_size)
                file.seek(0)
                channels = _decode_fast(file.read())
                if channels is not None:
                    return merge_channels(channels)
                file.seek(0)
                return decode_any(file, "PNG")
        except FileNotFoundError as error:
            raise ImageUnreadable("The file is absent.") from error
        except OSError as error:
            raise ImageUnreadable(f"The file cannot be read ({error.strerror}).") from error


def _check_sizes(head: bytes, length: int) -> None:
    """ImageUnreadable if a file does not begin as a PNG does, or what it announces, or it itself, is too large."""
    if not length:
        raise ImageUnreadable("The file is empty.")
    if len(head) < _HEADER.size or not head.startswith(_BEGINNING):
        raise ImageUnreadable("The file is not a PNG image.")
    _, width, height, bits, colour = _HEADER.unpack(head)
    _check_pixels(width, height)
    unpacked = height * (width * min(bits, 16) * _CHANNELS.get(colour, 4) // 8 + 2)
    if length > unpacked + MAX_OTHER_BYTES:
        raise ImageUnreadable(f"The file has {length:,} bytes, and its pixels would fill {unpacked:,} at the most.")


def _check_pixels(width: int, height: int, passes: int = 1) -> None:
    if width * height > MAX_PIXELS:
        raise ImageUnreadable(f"The file is {width} x {height}, above the limit of {MAX_PIXELS:,} pixels.")
    if passes * width * height > MAX_PASSED_PIXELS:
        raise ImageUnreadable(f"The file goes over its {width} x {height} pixels {passes:,} times: save it anew.")


def _decode_fast(content: bytes) -> NDArray[np.uint8] | None:
    """Channels (height, width, 1, 3 or 4) of a sound 8-bit PNG, in half the time Pillow takes; None for other files."""
    _, width, height, *kind = _HEADER.unpack_from(content)
    mode = _FAST_MODES.get(tuple(kind))
    if mode is None:
        return None
    try:
        channels: NDArray[np.uint8] = decode_image_png_u8(content, (height, width), mode)
    except BaseException as error:
        # The library raises nothing narrower; Pillow then reads the file, or says why not.
        if isinstance(error, Exception) or _is_panic(error):
            return None
        raise
    return channels


def _is_panic(error: BaseException) -> bool:
    """Whether Rust code found itself wrong about a file: no Exception, and of a class that cannot be imported."""
    kind = type(error)
    return (kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException")


def decode_any(file: BinaryIO, kind: Literal["PNG", "JPEG"], passes: int = 1) -> GreyImage:
    """The picture as Pillow reads it, which knows every kind of file and what ails it.

    Args:
        file: at its beginning.
        kind: what it has to be.
        passes: how often it goes over its pixels.

    Raises:
        ImageUnreadable: it is damaged, or too large.
    """
    try:
        with Image.open(file, formats=[kind]) as image:
            _check_pixels(*image.size, passes)  # of a PNG again: Pillow goes by the last of several headers
            return _grey(image)
    except UnidentifiedImageError as error:
        raise ImageUnreadable("The file is damaged: its parts do not make a picture.") from error
    except ImageUnreadable:
        raise
    except Exception as error:  # whatever a damaged file makes Pillow stumble over, the other files are read
        raise ImageUnreadable(f"The file is damaged ({_one_line(error)}).") from error


def _one_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _grey(image: Image.Image) -> GreyImage:
    if image.mode in ("L", "LA"):
        return GreyImage(np.asarray(image.getchannel(0)))
    if image.mode == "1":
        return GreyImage(np.asarray(image.convert("L")))
    if image.mode.startswith("I"):
        return GreyImage(np.asarray(image).astype(np.float32) / np.float32(257))
    return merge_channels(np.asarray(image.convert("RGBA")))


def merge_channels(channels: NDArray[np.uint8]) -> GreyImage:
    """One grey channel of uint8 (height, width, 1, 3 or 4): equal ones as they are, else luma by ITU-R BT.601."""
    red = channels[:, :, 0]
    if channels.shape[2] == 1:
        return GreyImage(red)
    green, blue = channels[:, :, 1], channels[:, :, 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return GreyImage(np.ascontiguousarray(red))
    return GreyImage(_luma(channels), colour=True)


def _luma(channels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Computed in double precision, band by band: the whole of a large picture would take gigabytes."""
    pixels = channels.reshape(-1, channels.shape[2])
    luma = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), BAND_PIXELS):
        red, green, blue = pixels[start : start + BAND_PIXELS, :3].T
        luma[start : start + BAND_PIXELS] = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma.reshape(channels.shape[:2])


def fit_square(image: GreyImage, size: int, fit: Literal["pad", "crop"]) -> NDArray[np.uint8]:
    """Make a picture square, then `size` pixels on a side.

    `pad` adds black evenly on the short sides, `crop` keeps the centre. Down to a smaller size every pixel is the
    mean of the area it covers, exactly and whatever the ratio, rounded half up; up to a larger one it is bicubic.

    Returns:
        uint8 of shape (size, size).
    """
    pixels = image.pixels if fit == "pad" else _cropped(image.pixels)
    side = max(pixels.shape)
    if side < size:
        square = Image.fromarray(_padded(pixels).astype(np.float32))
        grey = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), np.float64)
    else:
        longer = 0 if pixels.shape[0] == side else 1  # first, lest what is between the two passes be large
        grey = _area_sums(_area_sums(pixels, side, size, longer), side, size, 1 - longer) / side**2
    return np.floor(grey + 0.5).clip(0, 255).astype(np.uint8)


def _padded(pixels: NDArray[Any]) -> NDArray[Any]:
    height, width = pixels.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(pixels, ((top, side - height - top), (left, side - width - left)))


def _cropped(pixels: NDArray[Any]) -> NDArray[Any]:
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _area_sums(pixels: NDArray[Any], side: int, size: int, axis: int) -> NDArray[Any]:
    """Sums over `size` equal bands along an axis, times `size`: exact for integers, so equal on any machine.

    The axis is the middle of one of length `side`, black elsewhere. Band k spans k·side/size to (k+1)·side/size of it;
    a row or column that an edge cuts counts by its parts on either side.
    """
    length = pixels.shape[axis]
    exact = np.int64 if pixels.dtype.kind in "iu" else np.float64
    # Bytes are added up in as few bits as hold the sum of a band: in 16 it takes half as long as in 32.
    wide = np.min_scalar_type(255 * (side // size + 1)) if pixels.dtype == np.uint8 else exact
    if length == side and side % size == 0:
        bands = pixels.reshape(*pixels.shape[:axis], size, side // size, *pixels.shape[axis + 1 :])
        return np.asarray(bands.sum(axis=axis + 1, dtype=wide).astype(exact) * size)
    lines = np.moveaxis(pixels, axis, 0)
    edges, part = np.divmod(np.arange(size + 1) * side, size)
    edges -= (side - length) // 2
    part[(edges < 0) | (edges >= length)] = 0
    edges = edges.clip(0, length)
    cut = lines[np.minimum(edges, length - 1)] * part[:, np.newaxis].astype(exact)
    whole = np.stack([lines[first:end].sum(axis=0, dtype=wide) for first, end in pairwise(edges)])
    return np.moveaxis(whole.astype(exact) * size - cut[:-1] + cut[1:], 0, axis)


def tile(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """A grid of pictures, left to right and top to bottom, with thin grey lines between them.

    Grey values are those of the pictures, in one window for all: nothing is stretched tile by tile.

    Args:
        images: uint8 of shape (count, height, width), count at least 1.
        columns: tiles in a row; the last row may be short.

    Returns:
        uint8 of shape (height, width) of the whole grid.
    """
    count, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    down, across = height + SEPARATOR, width + SEPARATOR
    grid = np.full((rows * down - SEPARATOR, columns * across - SEPARATOR), SEPARATOR_GREY, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * down, index % columns * across
        grid[top : top + height, left : left + width] = image
    return grid


def encode_png(pixels: NDArray[np.uint8], text: Mapping[str, str] | None = None, *, compress_level: int = 1) -> bytes:
    """An 8-bit grey PNG of uint8 (height, width), with `text` as text chunks by keyword.

    At level 0, without compression, all of one shape have one length, whatever they show.
    """
    info = PngInfo()
    for keyword, value in (text or {}).items():
        info.add_text(keyword, value)
    buffer = io.BytesIO()
    # Encoding dominates an archive of images: level 1 is half as fast again as the default, and a little larger.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=compress_level, pnginfo=info)
    return buffer.getvalue()


def encode_gif(frames: Iterable[NDArray[np.uint8]], milliseconds: int) -> bytes:
    """A time-lapse that repeats for ever and rests on its last frame.

    Args:
        frames: at least one, uint8 (height, width), all of one shape; shown with one palette of 256 greys.
        milliseconds: how long a frame stays; a GIF counts in tens of them.
    """
    images: Sequence[Image.Image] = [Image.fromarray(frame) for frame in frames]
    durations = [milliseconds] * (len(images) - 1) + [milliseconds * LAST_FRAME_TIMES]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()
