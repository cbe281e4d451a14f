"""A folder for each class, with its images in it, as many public collections are published.

    Pneumonia/*.jpeg                the name of the folder is the label of all its images
    No Finding/*.png
    Effusion|Infiltration/*.png     with | between the findings of a class that has several
    source.toml                     optional: licence and citation, see `worker.sources.description`

Above them there may be folders for the parts, `train`, `val` or `validation`, and `test`: a dataset whose split is
`source` keeps to them. There are no patients: each image counts as one. Other files are of no account, nor is what
cannot be printed or begins with a dot. Where it is not clear of which class an image is, the source is refused.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from worker.contract.errors import SourceUnreadable
from worker.sources.base import OUTLIER_FLAGS, UNKNOWN_AGE, FolderSource, SourceTable
from worker.sources.columns import PARTS, codes, label_sets
from worker.sources.description import DESCRIPTION_FILE
from worker.sources.files import check_within
from worker.sources.image_files import ImageFile, is_image_name
from worker.sources.tables import MAX_ROWS
from worker.sources.terms import Terms, read_terms

IGNORED = frozenset({"__MACOSX"})
"""What macOS puts into archives beside what was meant."""


@dataclass(frozen=True)
class _Class:
    """The images of one class in one part, by the path of its folder below the source's, and by file names."""

    split: int | None
    path: str
    files: Sequence[str]

    @property
    def label(self) -> str:
        return self.path.rpartition("/")[2].strip()


class Folders(FolderSource):
    """A folder of classes. Rows are in the order of parts, classes and file names."""

    layout = "folders"
    asked_last = True

    def __init__(self, folder: Path, table: SourceTable, terms: Terms) -> None:
        self.id = folder.name
        self.table = table
        self.terms = terms
        self._folder = folder

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return any(_holds_images(path, folder) for path in _folders(folder))

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls(folder, _table(folder.name, _classes(folder)), read_terms(folder, Terms()))

    @classmethod
    def watched(cls, folder: Path) -> Iterable[Path]:
        inner = _folders(folder)
        within_parts = (path for part in inner if _part(part) is not None for path in _folders(part))
        return [folder, folder / DESCRIPTION_FILE, *inner, *within_parts]

    def image(self, row: int) -> ImageFile:
        return ImageFile(self._folder / self.table.files[row], within=self._folder)


def _table(told_by: str, classes: Sequence[_Class]) -> SourceTable:
    sizes = [len(each.files) for each in classes]
    if (rows := sum(sizes)) > MAX_ROWS:
        raise SourceUnreadable(f"{told_by} has more than {MAX_ROWS:,} images: make several sources of it.")
    labels, label_names = label_sets([each.label for each in classes], told_by)
    unknown, unknown_name = codes([""] * rows, told_by)
    return SourceTable(
        files=[f"{each.path}/{file}" for each in classes for file in each.files],
        patients=np.arange(rows),
        labels=np.repeat(labels, sizes),
        views=unknown,
        sexes=unknown,
        ages=np.full(rows, UNKNOWN_AGE, np.int16),
        flags=np.zeros(rows, np.uint8),
        present=np.ones(rows, np.bool_),
        label_names=label_names,
        view_names=unknown_name,
        sex_names=unknown_name,
        flag_names=OUTLIER_FLAGS,
        splits=None
        if classes[0].split is None
        else np.repeat([each.split for each in classes], sizes).astype(np.uint8),
        names_patients=False,
    )


def _classes(folder: Path) -> list[_Class]:
    """What there is, in the order of the rows; SourceUnreadable if there is nothing, or no sense in it."""
    if images := _images(folder, folder):
        raise SourceUnreadable(
            f"{folder.name} holds images beside its folders, such as {images[0]}: put each into the folder of its "
            "class."
        )
    found = [_class(path, split, folder) for split, level in _levels(folder) for path in _folders(level)]
    classes = [each for each in found if each.files]
    if not classes:
        raise SourceUnreadable(f"{folder.name} holds no folder with images: make one for each class.")
    spelt: dict[str, str] = {}
    for each in classes:
        if (other := spelt.setdefault(each.label.casefold(), each.label)) != each.label:
            raise SourceUnreadable(f"{folder.name} has classes {other!r} and {each.label!r}: spell them alike.")
    return classes


def _levels(folder: Path) -> list[tuple[int | None, Path]]:
    """The folders that hold the classes: one for each part, in the order of SPLITS, or the source's folder itself."""
    inner = _folders(folder)
    parts = sorted((split, path) for path in inner if (split := _part(path)) is not None)
    if not parts:
        return [(None, folder)]
    for (split, path), (next_split, next_path) in pairwise(parts):
        if split == next_split:
            raise SourceUnreadable(f"{folder.name} holds {path.name} beside {next_path.name}: make one part of them.")
    for path in inner:
        if _part(path) is None and _holds_images(path, folder):
            raise SourceUnreadable(
                f"{folder.name} holds {path.name} beside {parts[0][1].name}: put its images into the "
                "parts, or take it out."
            )
    for _, path in parts:
        if images := _images(path, folder):
            raise SourceUnreadable(
                f"{folder.name}/{path.name} holds images itself, such as {images[0]}: put each into a "
                "folder of its class."
            )
    return list(parts)


def _class(path: Path, split: int | None, source: Path) -> _Class:
    for inner in _folders(path):
        if _images(inner, source):
            raise SourceUnreadable(
                f"{path.relative_to(source)} holds a folder with images, {inner.name}: put all images of a class into "
                "its folder itself, or take it out."
            )
    return _Class(split, path.relative_to(source).as_posix(), _images(path, source))


def _holds_images(path: Path, source: Path) -> bool:
    return any(_images(each, source) for each in (path, *_folders(path)))


def _part(path: Path) -> int | None:
    return PARTS.get(path.name.casefold())


def _folders(path: Path) -> list[Path]:
    """The folders within one, by name; none if it cannot be listed."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if _is_folder(entry) and _is_named(entry.name)]
    except OSError:
        return []
    return [path / name for name in sorted(names)]


def _images(path: Path, source: Path) -> list[str]:
    """The names of the images in a folder, sorted; SourceUnreadable if it cannot be listed or is out of the source."""
    check_within(path, source, SourceUnreadable)
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.name
                for entry in entries
                if is_image_name(entry.name) and _is_named(entry.name) and not _is_folder(entry)
            )
    except OSError as error:
        raise SourceUnreadable(f"The folder {path.name} cannot be listed: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of plain files and folders the listing has told what they are; only links are looked up.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_dir())


def _is_named(name: str) -> bool:
    return name.isprintable() and not name.startswith(".") and name not in IGNORED
