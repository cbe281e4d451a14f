"""What is written of a dataset is what a later stage reads."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainers import labelled_dataset
from worker.contract.errors import NotFound
from worker.contract.requests import DatasetRequest
from worker.dataset import IMAGES, Dataset, ImagesWriter, write_items
from worker.selection import counts, select, without
from worker.sources.base import SPLITS
from worker.sources.items import ITEMS
from worker.sources.nih_cxr14 import NihCxr14


@pytest.mark.parametrize("count", [0, 1, 12, 1234])
def test_an_array_whose_length_was_not_known_is_one_that_numpy_reads(tmp_path: Path, count: int) -> None:
    with ImagesWriter(tmp_path / IMAGES, 3) as writer:
        for number in range(count):
            writer.append(np.full((3, 3), number % 256, np.uint8))
    array = np.load(tmp_path / IMAGES, mmap_mode="r" if count else None)
    assert (array.shape, array.dtype) == ((count, 3, 3), np.uint8)
    np.testing.assert_array_equal(array[:, 0, 0], np.arange(count) % 256)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("size", [8, 1024])
def test_a_full_disk_is_an_error(size: int) -> None:
    """With small images it is noticed when the file is closed."""
    with (
        pytest.raises(OSError, match="No space left"),
        ImagesWriter(Path("/dev/full"), size) as writer,
    ):
        writer.append(np.zeros((size, size), np.uint8))


def test_a_dataset_is_read_as_it_was_written(tmp_path: Path, nih_folder: Callable[..., Path]) -> None:
    table = NihCxr14.open(nih_folder(rows=24)).table
    request = DatasetRequest(source="small", where={"view": ("PA",)})
    selection = without(select(table, request), table, request, [1])
    with ImagesWriter(tmp_path / IMAGES, 8) as writer:
        for row in selection.rows.tolist():
            writer.append(np.full((8, 8), row, np.uint8))
    write_items(tmp_path / ITEMS, table, selection, {1: "It fell, and broke."})

    dataset = Dataset.open(tmp_path)
    assert isinstance(dataset.images, np.memmap)
    assert dataset.image_size == 8
    rows = dataset.images[:, 0, 0].astype(int)
    assert [row for row in range(24) if row // 4 % 2 == 0 and row != 1] == rows.tolist()
    assert dataset.patients.tolist() == [row * 2 // 3 for row in rows]
    assert dataset.labels[:3] == (("No Finding",), ("Effusion", "Infiltration"), ("Nodule",))
    together = np.concatenate([dataset.indices(split) for split in SPLITS])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(rows)))
    train, rest = dataset.indices("train"), np.concatenate([dataset.indices("validation"), dataset.indices("test")])
    assert len(train) >= len(rest) > 0
    assert not set(dataset.patients[train]) & set(dataset.patients[rest])

    lines = (tmp_path / ITEMS).read_text().splitlines()
    assert len(lines) == 25
    assert lines[0] == "file,patient,labels,view,sex,age,split,index,excluded"
    assert lines[2] == '00000001_000.png,0,Infiltration,PA,M,27,,,"It fell, and broke."'
    assert lines[3].startswith("00000002_000.png,1,Effusion|Infiltration,PA,F,34,")
    assert lines[3].endswith(",1,")
    assert lines[5].endswith(",,,view")


def test_images_are_told_apart_by_each_field_with_the_names_that_counts_have(
    tmp_path: Path, nih_folder: Callable[..., Path]
) -> None:
    rows = [
        ("a.png", "Mass|Effusion", 1, "105", "F", "PA"),
        ("b.png", "No Finding", 2, "9", "M", "AP"),
        ("c.png", "", 3, "34", "", "PA"),
        ("d.png", "Mass", 4, "", "F", ""),
    ]
    table = NihCxr14.open(nih_folder(rows=rows)).table
    selection = select(table, DatasetRequest(source="small"))
    with ImagesWriter(tmp_path / IMAGES, 8) as writer:
        for _ in rows:
            writer.append(np.zeros((8, 8), np.uint8))
    write_items(tmp_path / ITEMS, table, selection, {})
    dataset, counted = Dataset.open(tmp_path), counts(table, selection)

    found = {field: dataset.classes(field) for field in ("labels", "view", "sex", "age_decade")}
    assert found["labels"].names == ("Effusion|Mass", "Mass", "No Finding")
    assert found["labels"].codes.tolist() == [0, 2, 2, 1]
    assert found["age_decade"].names == ("0-9", "30-39", "100-109", "unknown")
    assert found["age_decade"].codes.tolist() == [2, 0, 1, 3]
    for field in ("view", "sex", "age_decade"):
        named = [found[field].names[code] for code in found[field].codes]
        assert Counter(named) == getattr(counted, field)


def test_of_some_classes_a_dataset_has_the_same_images_and_fewer_in_its_parts(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    whole = labelled_dataset(tmp_path, images, ["Mass", "", "Nodule", "Mass"], ["train", "train", "train", "test"])
    part = whole.of_classes("labels", ["Mass", "Nodule"])
    assert [part.indices(split).tolist() for split in SPLITS] == [[0, 2], [], [3]]
    assert part.images is whole.images
    assert whole.indices("train").tolist() == [0, 1, 2]


def test_names_that_look_like_formulas_are_text_to_people_and_read_as_the_source_has_them(
    tmp_path: Path, nih_folder: Callable[..., Path]
) -> None:
    rows = [("=a.png", "@Nodule|Mass", 1, "58", "-", "+PA"), ("b.png", "'=1|-2", 2, "58", "F", "AP")]
    table = NihCxr14.open(nih_folder(rows=rows)).table
    with ImagesWriter(tmp_path / IMAGES, 8) as writer:
        for _ in rows:
            writer.append(np.zeros((8, 8), np.uint8))
    write_items(tmp_path / ITEMS, table, select(table, DatasetRequest(source="small")), {})

    lines = (tmp_path / ITEMS).read_text().splitlines()
    assert lines[1].startswith("'=a.png,1,'@Nodule|Mass,'+PA,'-,58,")
    assert lines[2].startswith("b.png,2,''=1|-2,AP,F,58,")
    assert Dataset.open(tmp_path).labels == (("@Nodule", "Mass"), ("'=1", "-2"))


def test_a_dataset_that_was_never_prepared_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no images"):
        Dataset.open(tmp_path)
