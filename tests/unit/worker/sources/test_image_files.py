"""Pictures are told apart by what is in their files, and bad ones are refused in a sentence."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn import chest
from worker.contract.errors import ImageUnreadable
from worker.sources import image_files, pixels
from worker.sources.image_files import ImageFile, is_image_name

GREY = chest(3, 40)


def read(folder: Path, image: Image.Image | bytes, name: str = "x.png", kind: str = "PNG", **options: object) -> object:
    if isinstance(image, bytes):
        (folder / name).write_bytes(image)
    else:
        image.save(folder / name, kind, **options)
    return ImageFile(folder / name, within=folder).read()


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x"])
def test_a_png_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(GREY), name).pixels, GREY)


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    image = read(tmp_path, Image.fromarray(GREY), name, "JPEG", **options)
    with Image.open(tmp_path / name) as whole:
        np.testing.assert_array_equal(image.pixels, np.asarray(whole))
    assert np.abs(image.pixels.astype(int) - GREY).mean() < 8
    assert not image.colour


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_colour_that_is_grey_is_grey(tmp_path: Path, mode: str) -> None:
    image = read(tmp_path, Image.fromarray(GREY).convert("RGB").convert(mode), kind="JPEG", quality=95)
    assert not image.colour
    assert np.abs(image.pixels.astype(int) - GREY).mean() < 8


def test_colour_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, Image.new("RGB", (8, 8), (200, 30, 30)), kind="JPEG").colour


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty"),
        (b"GIF89a", "neither a PNG nor a JPEG image"),
        (b"\x89PNG", "The file is not a PNG image"),
        (b"\xff\xd8\xff", "The file is damaged: its parts do not make a picture"),
        (jpeg(Image.fromarray(GREY))[:-200], "The file is damaged"),
    ],
)
def test_what_is_no_whole_picture_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(ImageUnreadable, match=sentence) as refused:
        read(tmp_path, content)
    assert refused.value.detail.endswith(".")


def test_a_file_that_is_not_there_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match="is absent"):
        ImageFile(tmp_path / "x.png", within=tmp_path).read()


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg(Image.fromarray(GREY)))
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "x.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ImageUnreadable, match="leads out of the folder"):
        ImageFile(tmp_path / "inside" / "x.jpg", within=tmp_path / "inside").read()


def test_a_jpeg_is_read_up_to_its_limits_and_not_beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 1_599)
    with pytest.raises(ImageUnreadable, match="40 x 40, above the limit of 1,599 pixels"):
        read(tmp_path, Image.fromarray(GREY), kind="JPEG")
    monkeypatch.setattr(image_files, "MAX_JPEG_BYTES", 100)
    with pytest.raises(ImageUnreadable, match="above the limit of 100"):
        read(tmp_path, Image.fromarray(GREY), kind="JPEG")


def test_a_jpeg_that_keeps_a_decoder_busy_is_refused(tmp_path: Path) -> None:
    content = jpeg(Image.new("L", (4_000, 4_000), 90), progressive=True)
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageUnreadable, match=r"goes over its 4000 x 4000 pixels \d+ times"):
        read(tmp_path, content[:-2] + 100 * last_scan + content[-2:])


@pytest.mark.parametrize(("name", "is_one"), [("a.png", True), ("a.JPeG", True), ("._a.png", False), ("a.gif", False)])
def test_images_go_by_their_names(name: str, *, is_one: bool) -> None:
    assert is_image_name(name) is is_one
