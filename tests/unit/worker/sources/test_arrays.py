"""Arrays of images become a source, and whatever is wrong with them is said in a sentence."""

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, InvalidRequest, SourceUnreadable
from worker.contract.requests import DatasetRequest
from worker.selection import preview, select
from worker.sources.arrays import Arrays
from worker.sources.base import IMPOSSIBLE_AGE, UNKNOWN_AGE
from worker.sources.registry import SourceCatalog

IMAGES = np.random.default_rng(4).integers(0, 256, (12, 6, 5), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sources" / "small"
    made.mkdir(parents=True)
    return made


def packed(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "all.npz", **arrays)
    return folder


def apart(folder: Path, **arrays: Any) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize("save", [packed, apart])
def test_images_alone_are_a_source_whose_images_each_are_a_patient(folder: Path, save: Any) -> None:
    source = SourceCatalog(save(folder, images=IMAGES).parent).get("small")
    assert source.layout == "arrays"
    assert (len(source.table), len(set(source.table.patients.tolist()))) == (12, 12)
    assert not source.table.names_patients
    for row in range(12):
        np.testing.assert_array_equal(source.image(row).read().pixels, IMAGES[row])
    result = preview(source, DatasetRequest(source="small"))
    assert (result.images, result.patients, result.patients_known) == (12, 12, False)


@pytest.mark.parametrize("save", [packed, apart])
def test_all_that_can_be_told_of_images_is_taken(folder: Path, save: Any) -> None:
    save(
        folder,
        images=IMAGES[:4],
        labels=np.array([0, 1, 1, 0]),
        patients=np.array(["b", "a", "a", "c"]),
        ages=np.array([30.0, np.nan, 200.0, 7.9]),
        sexes=np.array(["M", "F", "", "F"]),
        views=np.array([b"PA", b"AP", b"PA", b"PA"]),
    )
    (folder / "label_names.txt").write_text("Normal\nPneumonia\n")
    table = Arrays.open(folder).table
    assert [table.labels_in(bits) for bits in table.labels.tolist()] == [
        ("Normal",),
        ("Pneumonia",),
        ("Pneumonia",),
        ("Normal",),
    ]
    assert table.names_patients
    assert table.patients.tolist() == [1, 0, 0, 2]
    assert table.ages.tolist() == [30, UNKNOWN_AGE, 200, 7]
    assert table.impossible_ages.tolist() == [False, False, True, False]
    assert [table.sex_names[code] for code in table.sexes] == ["M", "F", "unknown", "F"]
    assert [table.view_names[code] for code in table.views] == ["PA", "AP", "PA", "PA"]


def test_ages_that_are_none_are_impossible(folder: Path) -> None:
    table = Arrays.open(packed(folder, images=IMAGES[:3], ages=np.array(["old", "-7", "1e400"]))).table
    assert table.ages.tolist() == [IMPOSSIBLE_AGE, IMPOSSIBLE_AGE, IMPOSSIBLE_AGE]


@pytest.mark.parametrize(("names", "expected"), [("", ["0", "2"]), ("A\nB\nC\n", ["A", "C"])])
def test_several_findings_of_an_image_are_marks_in_a_row(folder: Path, names: str, expected: list[str]) -> None:
    if names:
        (folder / "label_names.txt").write_text(names)
    table = Arrays.open(packed(folder, images=IMAGES[:2], labels=np.array([[1, 0, 1], [0, 0, 0]]))).table
    assert list(table.labels_in(int(table.labels[0]))) == expected
    assert table.labels_in(int(table.labels[1])) == ()


@pytest.fixture
def in_parts(folder: Path) -> Path:
    """As MedMNIST does it."""
    return packed(
        folder,
        train_images=IMAGES[:6],
        train_labels=np.zeros((6, 1), np.uint8),
        val_images=IMAGES[6:9],
        val_labels=np.ones((3, 1), np.uint8),
        test_images=IMAGES[9:],
        test_labels=np.ones((3, 1), np.uint8),
    )


def test_parts_follow_one_another_and_can_be_kept_to(in_parts: Path) -> None:
    source = Arrays.open(in_parts)
    assert source.table.files[5:7] == ["train/0000005", "validation/0000000"]
    np.testing.assert_array_equal(source.image(10).read().pixels, IMAGES[10])
    kept = select(source.table, DatasetRequest(source="small", split="source", where={"labels": ["1"]}))
    assert kept.rows.tolist() == [6, 7, 8, 9, 10, 11]
    assert kept.split.tolist() == [1, 1, 1, 2, 2, 2]
    assert preview(source, DatasetRequest(source="small", split="source")).counts.split == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }


def test_a_source_that_is_not_divided_says_so(folder: Path) -> None:
    source = Arrays.open(packed(folder, images=IMAGES))
    with pytest.raises(InvalidRequest, match="does not divide its images"):
        preview(source, DatasetRequest(source="small", split="source"))


def test_colour_is_told_and_made_grey(folder: Path) -> None:
    channels = np.repeat(IMAGES[:2, :, :, None], 3, axis=3)
    channels[1, 0, 0] = (255, 0, 0)
    source = Arrays.open(packed(folder, images=channels))
    first, second = (source.image(row).read() for row in range(2))
    assert (first.colour, second.colour) == (False, True)
    np.testing.assert_array_equal(first.pixels, IMAGES[0])


def test_a_file_that_was_replaced_is_read_anew(folder: Path) -> None:
    catalog = SourceCatalog(packed(folder, images=IMAGES[:2]).parent)
    np.testing.assert_array_equal(catalog.get("small").image(0).read().pixels, IMAGES[0])
    packed(folder, images=IMAGES[5:9])
    os.utime(folder / "all.npz", ns=(1, 1))
    np.testing.assert_array_equal(catalog.get("small").image(0).read().pixels, IMAGES[5])


def test_an_image_of_a_file_that_is_gone_cannot_be_read(folder: Path) -> None:
    source = Arrays.open(apart(folder, images=IMAGES))
    (folder / "images.npy").unlink()
    with pytest.raises(ImageUnreadable, match=r"images\.npy cannot be read any more"):
        source.image(0).read()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"pictures": IMAGES}, "its arrays are: pictures"),
        ({"images": IMAGES, "train_images": IMAGES}, "has to hold either"),
        ({"images": IMAGES.astype(np.float64)}, "is float64 of shape"),
        ({"images": IMAGES[0]}, r"uint8 of shape \(6, 5\)"),
        ({"images": IMAGES[:, :, :, None].repeat(2, 3)}, "with 1 or 3 channels"),
        ({"images": IMAGES[:, :0]}, "has images of 5 x 0 pixels"),
        ({"images": IMAGES, "labels": np.zeros(3)}, r"shape \(3,\) beside 12 images"),
        ({"images": IMAGES, "ages": np.zeros((12, 2))}, "one value for each"),
        ({"images": IMAGES, "labels": np.zeros(12, complex)}, "has to hold numbers or texts"),
        ({"images": IMAGES, "labels": np.arange(12).repeat(1), "label_names": 1}, None),
        ({"train_images": IMAGES, "val_images": IMAGES, "val_labels": np.zeros(12)}, "for some of its parts only"),
    ],
)
def test_what_cannot_be_is_told(folder: Path, arrays: dict[str, NDArray[Any]], sentence: str | None) -> None:
    packed(folder, **arrays)
    if sentence is None:
        assert len(Arrays.open(folder).table) == 12
        return
    with pytest.raises(SourceUnreadable, match=sentence):
        Arrays.open(folder)


def test_names_that_do_not_go_with_the_labels_are_told(folder: Path) -> None:
    packed(folder, images=IMAGES[:2], labels=np.array([0, 5]))
    (folder / "label_names.txt").write_text("one\ntwo\n")
    with pytest.raises(SourceUnreadable, match="has 2 lines, for 0 to 1"):
        Arrays.open(folder)


def test_two_archives_in_a_folder_are_one_too_many(folder: Path) -> None:
    packed(folder, images=IMAGES)
    np.savez(folder / "more.npz", images=IMAGES)
    with pytest.raises(SourceUnreadable, match="make a folder for each"):
        Arrays.open(folder)


def test_nothing_is_unpickled(folder: Path) -> None:
    packed(folder, images=np.array([{"a": 1}, None], object))
    with pytest.raises(SourceUnreadable, match="is object of shape"):
        Arrays.open(folder)


def archive(folder: Path, header: dict[str, Any], content: bytes) -> Path:
    """An NPZ file with one array of this header, whatever it says."""
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, header)
    with zipfile.ZipFile(folder / "all.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", array.getvalue() + content)
    return folder


def test_an_array_that_says_it_is_larger_than_it_is_is_not_made_room_for(folder: Path) -> None:
    archive(folder, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}, b"")
    with pytest.raises(SourceUnreadable, match="ends early"):
        Arrays.open(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing more", b"\x93NUMPY\x01\x00", os.urandom(200)])
def test_a_damaged_file_is_told(folder: Path, content: bytes) -> None:
    (folder / "all.npz").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"all\.npz"):
        Arrays.open(folder)


def test_no_link_leads_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "elsewhere.npy", IMAGES)
    (folder / "images.npy").symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(SourceUnreadable, match="leads out of the folder"):
        Arrays.open(folder)


def test_the_known_counts_of_a_published_collection(folder: Path, shared_data: Path) -> None:
    shutil.copy(shared_data / "pneumoniamnist.npz", folder)
    (folder / "label_names.txt").write_text("Normal\nPneumonia\n")
    result = preview(Arrays.open(folder), DatasetRequest(source="small", image_size=28, split="source"))
    assert result.counts.split == {"train": 3_882, "validation": 524, "test": 624}
    trained = DatasetRequest(source="small", where={"labels": ["Normal"]}, split="source")
    assert preview(Arrays.open(folder), trained).counts.split["train"] == 388
