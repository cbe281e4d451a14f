"""Classes are counted as trainings learn them: by the whole list of findings, or another field."""

from collections import Counter
from pathlib import Path

import pytest

from worker.sources.items import ITEM_COLUMNS, ITEMS, class_counts, read_items

LINES = (
    "a.png,1,Effusion|Nodule,PA,F,34,train,0,",
    "b.png,1,,AP,F,,train,1,",
    "c.png,2,'=Nodule,PA,M,34,train,2,",
    "d.png,3,Nodule,PA,M,34,test,3,",
    "e.png,4,Nodule,PA,M,34,,,limit",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ITEMS).write_text("\n".join((",".join(ITEM_COLUMNS), *LINES)) + "\n")
    return tmp_path


def test_only_images_are_read(folder: Path) -> None:
    assert [item["file"] for item in read_items(folder)] == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize(
    ("by", "split", "counts"),
    [
        ("labels", "train", {"Effusion|Nodule": 1, "No Finding": 1, "=Nodule": 1}),
        ("labels", "test", {"Nodule": 1}),
        ("labels", "validation", {}),
        ("view", "train", {"PA": 2, "AP": 1}),
        ("age_decade", "train", {"30-39": 2, "unknown": 1}),
    ],
)
def test_classes_of_a_part_are_counted(folder: Path, by: str, split: str, counts: dict[str, int]) -> None:
    assert class_counts(folder, by, split) == Counter(counts)
