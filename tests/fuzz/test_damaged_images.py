"""However a picture is damaged, it is read, or refused in a sentence: nothing crashes, nothing lasts."""

from pathlib import Path

import pytest
from damage import JPEGS, PNGS, chunk_soups, damaged, damaged_pngs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.contract.errors import ImageUnreadable
from worker.reading import Picture, Recipe, read_batch
from worker.sources.image_files import ImageFile
from worker.sources.pixels import PngFile

PNG_EXAMPLES = 12 * settings().max_examples
RECIPE = Recipe(size=8, fit="pad", digest=True)

pytestmark = [
    pytest.mark.timeout(1800),
    # Pillow's, of files with several pictures: their first one is read all the same.
    pytest.mark.filterwarnings("ignore:Invalid APNG:UserWarning"),
    pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file:UserWarning"),
]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each example in its turn is put."""
    return tmp_path_factory.mktemp("damaged") / "x.png"


def outcome(place: Path, content: bytes, handle: type[PngFile] | type[ImageFile] = PngFile) -> str:
    """Read a file as a dataset would, and check what is said of it."""
    place.write_bytes(content)
    (read,) = read_batch([handle(place, within=place.parent)], RECIPE)
    if isinstance(read, Picture):
        assert read.square.shape == (8, 8)
        return "read"
    assert isinstance(read, ImageUnreadable)
    assert read.detail.startswith("The file ")
    assert read.detail.endswith(".")
    assert "\n" not in read.detail
    return "refused in a sentence"


@pytest.mark.parametrize("whole", PNGS)
def test_before_they_are_damaged_they_can_be_read(place: Path, whole: bytes) -> None:
    assert outcome(place, whole) == "read"


@settings(max_examples=PNG_EXAMPLES)
@given(content=damaged_pngs())
@example(content=b"")
def test_a_damaged_png_is_read_or_refused(place: Path, tally, content: bytes) -> None:
    tally["damaged PNG files"][outcome(place, content)] += 1


@settings(max_examples=PNG_EXAMPLES)
@given(content=chunk_soups())
def test_a_soup_of_chunks_is_read_or_refused(place: Path, tally, content: bytes) -> None:
    tally["PNG files of arbitrary chunks"][outcome(place, content)] += 1


@settings(max_examples=3 * settings().max_examples)
@given(content=st.sampled_from(JPEGS) | damaged(JPEGS) | st.binary(max_size=200))
def test_what_is_no_png_is_refused(place: Path, tally, content: bytes) -> None:
    said = outcome(place, content)
    assert said != "read"
    tally["JPEG files and noise"][said] += 1


@pytest.mark.parametrize("whole", [*PNGS, *JPEGS])
def test_before_they_are_damaged_files_of_either_format_can_be_read(place: Path, whole: bytes) -> None:
    assert outcome(place, whole, ImageFile) == "read"


@settings(max_examples=PNG_EXAMPLES // 2)
@given(content=damaged(JPEGS) | damaged([*JPEGS, *PNGS]) | st.binary(max_size=200).map(b"\xff\xd8\xff".__add__))
def test_a_damaged_jpeg_is_read_or_refused(place: Path, tally, content: bytes) -> None:
    tally["damaged JPEG files"][outcome(place, content, ImageFile)] += 1
