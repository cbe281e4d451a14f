"""Files become grey by the documented rule, squares by an exact mean, and damage by a sentence."""

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from worker.contract.errors import ImageUnreadable
from worker.sources.base import GreyImage
from worker.sources.pixels import (
    BAND_PIXELS,
    SEPARATOR,
    SEPARATOR_GREY,
    PngFile,
    encode_gif,
    encode_png,
    fit_square,
    tile,
)

GREY = np.arange(12 * 17, dtype=np.uint8).reshape(12, 17)


def saved(path: Path, image: Image.Image, **options: Any) -> GreyImage:
    image.save(path, **options)
    return PngFile(path).read()


def test_8_bit_grey_is_taken_as_it_is(tmp_path: Path) -> None:
    read = saved(tmp_path / "x.png", Image.fromarray(GREY))
    assert read.pixels.dtype == np.uint8
    assert not read.colour
    np.testing.assert_array_equal(read.pixels, GREY)


def test_16_bit_grey_is_mapped_by_its_whole_range_and_not_by_what_it_holds(tmp_path: Path) -> None:
    dim = (GREY.astype(np.uint16) * 3).reshape(12, 17)  # nothing near white: a stretch would show
    read = saved(tmp_path / "x.png", Image.fromarray(dim))
    np.testing.assert_allclose(read.pixels, dim / 257, atol=1e-4)
    assert not read.colour


def test_1_bit_and_palette_files_have_the_grey_they_stand_for(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        saved(tmp_path / "bits.png", Image.fromarray(GREY > 100)).pixels, np.where(GREY > 100, 255, 0)
    )
    inverting = Image.fromarray(GREY)
    inverting = Image.frombytes("P", inverting.size, inverting.tobytes())
    inverting.putpalette([value for grey in range(256) for value in [255 - grey] * 3])
    for name, options in (("plain.png", {}), ("see-through.png", {"transparency": bytes(range(256))})):
        read = saved(tmp_path / name, inverting, **options)
        assert not read.colour
        np.testing.assert_array_equal(read.pixels, 255 - GREY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_equal_channels_are_one_and_transparency_is_ignored(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    if mode.endswith("A"):
        image.putalpha(7)
    read = saved(tmp_path / "x.png", image)
    assert not read.colour
    np.testing.assert_array_equal(read.pixels, GREY)


def test_channels_that_differ_give_luma_and_are_called_colour(tmp_path: Path) -> None:
    channels = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
    read = saved(tmp_path / "x.png", Image.fromarray(channels))
    assert read.colour
    np.testing.assert_allclose(read.pixels, channels @ np.array([0.299, 0.587, 0.114]), atol=1e-3)


def test_the_luma_of_many_pixels_is_that_of_each(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).integers(0, 256, (2, BAND_PIXELS - 1, 3), np.uint8)
    red, green, blue = np.moveaxis(channels, 2, 0)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).astype(np.float32)
    np.testing.assert_array_equal(saved(tmp_path / "x.png", Image.fromarray(channels)).pixels, luma)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_interlaced_files_and_transparent_greys_and_colours_are_read_like_others(tmp_path: Path) -> None:
    assert not saved(tmp_path / "x.png", Image.fromarray(GREY), transparency=5).colour
    np.testing.assert_array_equal(saved(tmp_path / "x.png", Image.fromarray(GREY), transparency=5).pixels, GREY)
    channels = Image.fromarray(np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(saved(tmp_path / "x.png", channels, transparency=(5, 5, 5)).pixels, GREY)

    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))  # width and height of each, of 8x8 pixels
    rows = b"".join((b"\0" + bytes([grey] * width)) * height for grey, (width, height) in enumerate(passes))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1))
    whole = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(whole)
    read = PngFile(tmp_path / "x.png").read().pixels
    assert read[:2].tolist() == [[0, 5, 3, 5, 1, 5, 3, 5], [6] * 8]


def test_a_file_whose_pixels_are_whole_is_read_though_its_end_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode_png(GREY)[:-12])
    np.testing.assert_array_equal(PngFile(tmp_path / "x.png").read().pixels, GREY)


class PanicException(BaseException):
    """As the Rust libraries raise it, whose own class cannot be imported."""

    __module__ = "pyo3_runtime"


def raising(error: BaseException) -> Callable[..., Any]:
    def decode(*_: Any) -> Any:
        raise error

    return decode


def test_a_file_that_the_faster_decoder_panics_at_is_left_to_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.sources.pixels.decode_image_png_u8", raising(PanicException("index out of bounds")))
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(GREY))
    np.testing.assert_array_equal(PngFile(path).read().pixels, GREY)
    path.write_bytes(encode_png(GREY)[:40])
    with pytest.raises(ImageUnreadable, match="damaged"):
        PngFile(path).read()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whoever_stops_the_process_is_not_taken_for_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr("worker.sources.pixels.decode_image_png_u8", raising(error()))
    (tmp_path / "x.png").write_bytes(encode_png(GREY))
    with pytest.raises(error):
        PngFile(tmp_path / "x.png").read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"a letter to the editor", "not a PNG"),
        (b"\xff\xd8\xff\xe0 as a JPEG begins", "not a PNG"),
        (None, "absent"),
    ],
)
def test_what_is_no_picture_is_told_in_a_sentence(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageUnreadable, match=reason):
        PngFile(path).read()


def test_a_truncated_file_is_unreadable(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = encode_png(noise)
    (tmp_path / "x.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageUnreadable, match="damaged"):
        PngFile(tmp_path / "x.png").read()


@pytest.mark.parametrize("side", [9_000, 12_000, 30_000, 60_000, 2**31])
def test_a_small_file_that_would_unfold_to_a_huge_picture_is_refused(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(bomb)
    with pytest.raises(ImageUnreadable, match=f"{side} x {side}, above the limit of 64,000,000 pixels"):
        PngFile(tmp_path / "x.png").read()


@given(
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    position=st.integers(0, 400),
    bits=st.integers(1, 255),
    cut=st.integers(0, 400),
)
def test_no_damage_escapes_as_another_error(mode: str, position: int, bits: int, cut: int) -> None:
    comment = PngInfo()
    comment.add_text("Comment", "hello")
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, "PNG", pnginfo=comment)
    content = bytearray(buffer.getvalue())
    content[position % len(content)] ^= bits
    with tempfile.NamedTemporaryFile() as file:
        file.write(content[: len(content) - cut % 100])
        file.flush()
        with suppress(ImageUnreadable):  # or it is read: damage to the comment costs nothing
            assert PngFile(Path(file.name)).read().pixels.ndim == 2


def test_files_as_nih_publishes_them(shared_data: Path) -> None:
    """Of the 120 files two are RGBA with equal channels; all come out as one grey channel, unchanged."""
    modes = []
    for path in sorted((shared_data / "nih-cxr14" / "images_001" / "images").glob("*.png")):
        with Image.open(path) as image:
            modes.append(image.mode)
            if len(modes) % 40 and image.mode == "L":
                continue
            expected = np.asarray(image.getchannel(0))
        read = PngFile(path).read()
        assert not read.colour
        np.testing.assert_array_equal(read.pixels, expected)
    assert (modes.count("L"), modes.count("RGBA")) == (118, 2)


def mean_of_covered_area(pixels: NDArray[Any], size: int) -> NDArray[np.float64]:
    """The definition, written down: every pixel of the result is an integral over its area, by overlaps."""
    side = len(pixels)
    edges = np.arange(size + 1) * side / size
    lower, upper = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cells = np.arange(side)
    overlap = np.clip(np.minimum(upper, cells + 1) - np.maximum(lower, cells), 0, None)
    return np.asarray(overlap @ pixels.astype(np.float64) @ overlap.T / (side / size) ** 2)


@given(
    pixels=st.integers(8, 70).flatmap(lambda side: arrays.arrays(np.uint8, (side, side))),
    size=st.integers(8, 70),
)
def test_a_smaller_square_is_the_mean_of_the_area_each_pixel_covers(pixels: NDArray[np.uint8], size: int) -> None:
    size = min(size, len(pixels))
    mean = mean_of_covered_area(pixels, size)
    assert np.abs(fit_square(GreyImage(pixels), size, "pad") - mean).max() <= 0.5 + 1e-9
    in_floats = fit_square(GreyImage(pixels.astype(np.float32)), size, "pad")
    np.testing.assert_array_equal(in_floats, fit_square(GreyImage(pixels), size, "pad"))


@given(
    pixels=st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays.arrays(np.uint8, shape)),
    size=st.integers(1, 40),
)
def test_the_black_at_the_sides_counts_as_pixels_do(pixels: NDArray[np.uint8], size: int) -> None:
    height, width = pixels.shape
    side = max(height, width)
    size = min(size, side)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    np.testing.assert_array_equal(
        fit_square(GreyImage(pixels), size, "pad"), fit_square(GreyImage(square), size, "pad")
    )


@pytest.mark.parametrize("shape", [(1, 5_000_000), (5_000_000, 1)])
def test_a_line_of_pixels_does_not_unfold_to_its_square(shape: tuple[int, int]) -> None:
    assert (fit_square(GreyImage(np.full(shape, 255, np.uint8)), 8, "pad") == 0).all()
    assert (fit_square(GreyImage(np.full(shape, 255, np.uint8)), 1, "crop") == 255).all()


def test_halves_are_rounded_up() -> None:
    pixels = np.kron(np.eye(8), np.array([[1, 1], [0, 0]])).astype(np.uint8)
    np.testing.assert_array_equal(fit_square(GreyImage(pixels), 8, "pad"), np.eye(8))


def test_the_large_sizes_of_real_files_do_not_overflow() -> None:
    white = GreyImage(np.full((3000, 3000), 255, np.uint8))
    for size in (28, 64, 1000):
        assert (fit_square(white, size, "pad") == 255).all()


def test_pad_adds_black_evenly_and_crop_keeps_the_centre() -> None:
    wide = np.full((20, 40), 200, np.uint8)
    wide[:, :10] = 50
    padded = fit_square(GreyImage(wide), 40, "pad")
    assert (padded[:10] == 0).all()
    assert (padded[30:] == 0).all()
    np.testing.assert_array_equal(padded[10:30], wide)
    np.testing.assert_array_equal(fit_square(GreyImage(wide), 20, "crop"), wide[:, 10:30])
    np.testing.assert_array_equal(fit_square(GreyImage(wide.T), 40, "pad"), padded.T)


def test_a_larger_square_keeps_flat_areas_and_stays_within_black_and_white() -> None:
    assert (fit_square(GreyImage(np.full((10, 10), 77, np.uint8)), 33, "pad") == 77).all()
    edge = np.zeros((10, 10), np.uint8)
    edge[:, 5:] = 255
    larger = fit_square(GreyImage(edge), 40, "pad")
    assert (larger[:, :16] <= 5).all()
    assert (larger[:, 24:] >= 250).all()


@given(count=st.integers(1, 20), columns=st.integers(1, 8))
def test_a_grid_holds_every_tile_as_it_is(count: int, columns: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 5, 7), np.uint8)
    grid = tile(images, columns)
    across = min(columns, count)
    down = -(-count // across)
    assert grid.shape == (down * 5 + (down - 1) * SEPARATOR, across * 7 + (across - 1) * SEPARATOR)
    rest = grid.astype(int)
    for index, image in enumerate(images):
        top, left = index // across * (5 + SEPARATOR), index % across * (7 + SEPARATOR)
        np.testing.assert_array_equal(grid[top : top + 5, left : left + 7], image)
        rest[top : top + 5, left : left + 7] = SEPARATOR_GREY
    assert (rest == SEPARATOR_GREY).all()


@pytest.mark.parametrize("size", [16, 28, 64, 300])
def test_without_compression_all_of_one_shape_are_of_one_length(size: int) -> None:
    flat, noise = np.zeros((size, size), np.uint8), np.random.default_rng(1).integers(0, 256, (size, size), np.uint8)
    assert len(encode_png(flat)) < len(encode_png(noise))
    assert len({len(encode_png(pixels, compress_level=0)) for pixels in (flat, noise, noise // 9)}) == 1


def test_a_png_carries_pixels_and_text() -> None:
    with Image.open(io.BytesIO(encode_png(GREY, {"Synthetic": "true", "Note": "Röntgen"}))) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), GREY)
        assert image.info["Synthetic"] == "true"
        assert image.info["Note"] == "Röntgen"


def frames_of(content: bytes, then: Callable[[Image.Image], Any]) -> list[Any]:
    found = []
    with Image.open(io.BytesIO(content)) as animation:
        for number in range(getattr(animation, "n_frames", 1)):
            animation.seek(number)
            found.append(then(animation))
    return found


def test_a_time_lapse_keeps_greys_and_rests_on_its_last_frame() -> None:
    frames = [np.tile(np.arange(grey, grey + 8, dtype=np.uint8), (6, 1)) for grey in (0, 100, 240)]
    content = encode_gif(frames, 80)
    shown = frames_of(content, lambda frame: np.asarray(frame.convert("L")))
    np.testing.assert_array_equal(shown, frames)
    durations = frames_of(content, lambda frame: frame.info["duration"])
    assert durations[:2] == [80, 80]
    assert durations[2] >= 800
    assert frames_of(encode_gif(frames[:1], 80), lambda frame: frame.size) == [(8, 6)]
