"""Folders of classes become a source; where it is not clear of which class an image is, that is said in a sentence."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawn import chest, draw_class_folders
from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.contract.requests import DatasetRequest
from worker.selection import preview, select
from worker.sources.folders import Folders
from worker.sources.registry import SourceCatalog

IN_PARTS = {"train/NORMAL": 3, "train/PNEUMONIA": 4, "val/NORMAL": 1, "test/NORMAL": 2, "test/PNEUMONIA": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sources" / "mine"


def test_the_name_of_a_folder_is_the_label_of_its_images(folder: Path) -> None:
    draw_class_folders(folder, {"No Finding": 2, "Pneumonia": 3, "Effusion|Nodule": 1})
    source = SourceCatalog(folder.parent).get("mine")
    table = source.table
    assert source.layout == "folders"
    assert table.files == [
        "Effusion|Nodule/000.jpeg",
        "No Finding/000.jpeg",
        "No Finding/001.png",
        "Pneumonia/000.jpeg",
        "Pneumonia/001.png",
        "Pneumonia/002.jpeg",
    ]
    assert table.label_names == ("Effusion", "No Finding", "Nodule", "Pneumonia")
    assert table.labels_in(int(table.labels[0])) == ("Effusion", "Nodule")
    assert table.counts()["label"] == {"Effusion": 1, "No Finding": 2, "Nodule": 1, "Pneumonia": 3}
    assert table.counts()["view"] == table.counts()["sex"] == table.counts()["age_decade"] == {"unknown": 6}
    assert table.splits is None
    np.testing.assert_array_equal(source.image(2).read().pixels, chest(1, 40))
    assert source.image(3).read().pixels.shape == (40, 40)


def test_each_image_counts_as_a_patient_and_results_say_so(folder: Path) -> None:
    result = preview(Folders.open(draw_class_folders(folder, {"A": 3, "B": 2})), DatasetRequest(source="mine"))
    assert (result.images, result.patients, result.patients_known) == (5, 5, False)


@pytest.mark.parametrize("validation", ["val", "valid", "VALIDATION"])
def test_parts_above_the_classes_can_be_kept_to(folder: Path, validation: str) -> None:
    draw_class_folders(folder, {name.replace("val", validation): images for name, images in IN_PARTS.items()})
    source = Folders.open(folder)
    assert [file.rpartition("/")[0] for file in source.table.files] == [
        *["train/NORMAL"] * 3,
        *["train/PNEUMONIA"] * 4,
        f"{validation}/NORMAL",
        *["test/NORMAL"] * 2,
        "test/PNEUMONIA",
    ]
    assert source.table.label_names == ("NORMAL", "PNEUMONIA")
    kept = select(source.table, DatasetRequest(source="mine", split="source", where={"labels": ["NORMAL"]}))
    assert kept.split.tolist() == [0, 0, 0, 1, 2, 2]


def test_other_files_and_hidden_ones_are_of_no_account(folder: Path) -> None:
    draw_class_folders(folder, {"A": 2, "B": 1, "__MACOSX/A": 2, ".cache": 1})
    for name in ("README.txt", "A/._000.png", "A/.DS_Store", "A/notes.csv", "B/movie.gif", "B/000.png.part"):
        (folder / name).touch()
    (folder / "documents").mkdir()
    (folder / "A" / "empty").mkdir()
    assert Folders.open(folder).table.files == ["A/000.jpeg", "A/001.png", "B/000.jpeg"]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ({"A": 0}, "holds no folder with images: make one for each class"),
        ({".": 2, "A": 1}, r"mine holds images beside its folders, such as 000\.jpeg"),
        ({"A": 1, "A/inner": 1}, "A holds a folder with images, inner: put all images of a class into its folder"),
        ({"COVID/images": 1, "COVID/masks": 1}, "COVID holds a folder with images, images"),
        ({"train/A": 1, "B": 1}, "mine holds B beside train"),
        ({"train/A": 1, "chests/A": 1}, "mine holds chests beside train"),
        ({"train/A": 1, "val/A": 1, "Valid/A": 1}, "mine holds Valid beside val: make one part of them"),
        ({"train": 1, "test/A": 1}, r"mine/train holds images itself, such as 000\.jpeg"),
        ({"train/A/inner": 1}, "train/A holds a folder with images, inner"),
        ({"train/Normal": 1, "test/NORMAL": 1}, "has classes 'Normal' and 'NORMAL': spell them alike"),
        ({f"class {number}": 1 for number in range(65)}, "names 65 findings"),
    ],
)
def test_what_is_ambiguous_is_told(folder: Path, classes: Mapping[str, int], sentence: str) -> None:
    folder.mkdir(parents=True)
    for inner, images in classes.items():
        (folder / inner).mkdir(parents=True, exist_ok=True)
        for index in range(images):
            (folder / inner / f"{index:03}.jpeg").touch()
    with pytest.raises(SourceUnreadable, match=sentence) as refused:
        Folders.open(folder)
    assert refused.value.detail.endswith(".")


def test_recognises_what_holds_folders_with_images(tmp_path: Path) -> None:
    assert not Folders.recognises(tmp_path)
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "notes.txt").touch()
    assert not Folders.recognises(tmp_path)
    (tmp_path / "A" / "a.JPG").touch()
    assert Folders.recognises(tmp_path)


def test_links_within_the_folder_are_followed_and_out_of_it_are_not(folder: Path, tmp_path: Path) -> None:
    draw_class_folders(folder, {"A": 2})
    Image.fromarray(chest(7, 8)).save(tmp_path / "secret.png")
    (folder / "A" / "in.png").symlink_to("001.png")
    (folder / "A" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "A" / "nowhere.png").symlink_to("nowhere.png")
    (folder / "B").symlink_to("A")
    source = Folders.open(folder)
    assert len(source.table) == 10
    np.testing.assert_array_equal(source.image(2).read().pixels, source.image(1).read().pixels)
    with pytest.raises(ImageUnreadable, match=r"out\.png leads out of the folder of its source"):
        source.image(4).read()
    with pytest.raises(ImageUnreadable, match="cannot be read"):
        source.image(3).read()


@pytest.mark.parametrize(
    ("name", "drawn", "elsewhere"),
    [("B", {"A": 1}, "."), ("train", {"test/A": 1}, "A"), ("train/B", {"train/A": 1}, ".")],
)
def test_folders_of_classes_and_parts_may_not_lead_out_either(
    folder: Path, tmp_path: Path, name: str, drawn: Mapping[str, int], elsewhere: str
) -> None:
    (tmp_path / "elsewhere" / elsewhere).mkdir(parents=True)
    (tmp_path / "elsewhere" / elsewhere / "a.png").touch()
    draw_class_folders(folder, drawn)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnreadable, match="leads out of the folder of its source"):
        Folders.open(folder)


def test_a_folder_that_cannot_be_listed_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_class_folders(folder, {"A": 1, "B": 1})
    listing = os.scandir

    def forbid(path: Path) -> object:
        if path == folder / "B":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", forbid)
    with pytest.raises(SourceUnreadable, match="The folder B cannot be listed: Permission denied"):
        Folders.open(folder)


def test_names_that_cannot_be_printed_are_of_no_account(folder: Path) -> None:
    draw_class_folders(folder, {"A": 1, "two\nlines": 1})
    (folder / "A" / "a\x1b.png").touch()
    assert Folders.open(folder).table.files == ["A/000.jpeg"]


CHANGES: Mapping[str, Callable[[Path], None]] = {
    "an image more": lambda folder: (folder / "train" / "A" / "new.png").touch(),
    "an image less": lambda folder: (folder / "test" / "A" / "000.jpeg").unlink(),
    "a class more": lambda folder: (folder / "train" / "B").mkdir(),
    "a part more": lambda folder: (folder / "val").mkdir(),
    "a description": lambda folder: (folder / "source.toml").touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_on_disk_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    draw_class_folders(folder, {"train/A": 1, "test/A": 1})
    for path in (folder, *folder.rglob("*")):
        os.utime(path, ns=(0, 0))
    catalog = SourceCatalog(folder.parent)
    opened = catalog.get("mine")
    assert catalog.get("mine") is opened
    change(folder)
    assert catalog.get("mine") is not opened


def opened(folder: Path) -> Folders | SourceUnreadable:
    try:
        return Folders.open(folder)
    except SourceUnreadable as refusal:
        return refusal


NAMES = st.text(st.characters(categories=["L", "N", "Zs"], include_characters=".-_|'"), min_size=1, max_size=20)


@settings(max_examples=settings().max_examples // 2)
@given(classes=st.dictionaries(NAMES.filter(lambda name: name.strip(".")), st.integers(0, 3), max_size=6))
def test_whatever_the_classes_are_called_all_of_their_images_are_there_or_none(
    tmp_path_factory: pytest.TempPathFactory, classes: Mapping[str, int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name, images in classes.items():
        (folder / name).mkdir()
        for index in range(images):
            (folder / name / f"{index}.png").touch()
    source = opened(folder)
    if isinstance(source, SourceUnreadable):
        assert source.detail.endswith(".")
        return
    visible = {name: images for name, images in classes.items() if name.isprintable() and not name.startswith(".")}
    assert len(source.table) == sum(visible.values())
    assert list(source.table.files) == sorted(source.table.files, key=lambda file: file.split("/"))
    assert all((folder / file).exists() for file in source.table.files)
