"""items.csv of a dataset, a line for every row of its source: the part of it that tells of images alone.

Its texts are cells, to be read with `text_of`.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.contract.requests import ClassField
from worker.sources.base import NO_FINDING, UNKNOWN, decade_name
from worker.sources.cells import text_of

ITEMS = "items.csv"
ITEM_COLUMNS = ("file", "patient", "labels", "view", "sex", "age", "split", "index", "excluded")
"""`labels` are joined with |; `index` is the image's place in images.npy; `excluded` says why there is none."""


def read_items(folder: Path) -> Iterator[dict[str, str]]:
    """The lines of the images that are in the dataset, in their order; FileNotFoundError if there is no such file."""
    with (folder / ITEMS).open(newline="", encoding="utf-8") as file:
        yield from (item for item in csv.DictReader(file) if item["index"])


def class_name(item: Mapping[str, str], by: ClassField) -> str:
    """The class of an image by a field: by `labels` its whole list of findings, and NO_FINDING of an empty one."""
    if by == "labels":
        return text_of(item["labels"]) or NO_FINDING
    if by == "age_decade":
        return decade_name(int(item["age"])) if item["age"] else UNKNOWN
    return text_of(item[by])


def class_counts(folder: Path, by: ClassField, split: str) -> Counter[str]:
    """How many images of a part of the dataset in a folder are of each class."""
    return Counter(class_name(item, by) for item in read_items(folder) if item["split"] == split)
