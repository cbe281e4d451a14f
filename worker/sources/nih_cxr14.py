"""ChestX-ray14 of the NIH Clinical Center, in the folders and files that NIH publishes.

    Data_Entry_2017*.csv            the metadata; of several editions the last by name
    images/*.png                    the pictures, in one folder
    images_001/images/*.png  …012   or in one folder for each of the twelve archives
    cxr14_bad_labels.csv            optional: the first GAN study's list of outliers, several rows an image
    source.toml                     optional: other terms than NIH's, see `worker.sources.description`

A row of the metadata without a picture is normal: hardly anyone downloads all twelve archives.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.sources.base import OUTLIER_FLAGS, FolderSource, SourceTable
from worker.sources.columns import codes, label_sets, values, years
from worker.sources.description import DESCRIPTION_FILE
from worker.sources.files import check_within
from worker.sources.pixels import PngFile
from worker.sources.tables import read_columns
from worker.sources.terms import Terms, read_terms

METADATA = "Data_Entry_2017*.csv"
OUTLIERS = "cxr14_bad_labels.csv"
IMAGE_FOLDERS = ("images", *(f"images_{archive:03}/images" for archive in range(1, 13)))

_METADATA_COLUMNS = (
    ("Image Index",),
    ("Finding Labels",),
    ("Patient ID",),
    ("Patient Age",),
    ("Patient Gender", "Patient Sex"),
    ("View Position",),
)
"""Each column by the names that one edition or another gives it."""
_OUTLIER_COLUMNS = (("Index",), ("Inverted",), ("Not frontal",), ("Rotated",))
"""The image, then its flags in the order of OUTLIER_FLAGS."""


NIH_TERMS = Terms(
    licence="Use is unrestricted. NIH asks to link to its download site, https://nihcc.app.box.com/v/ChestXray-NIHCC, "
    "to acknowledge the NIH Clinical Center as the provider of the data, and to cite the paper.",
    citation="X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers: ChestX-ray8: Hospital-scale Chest X-ray "
    "Database and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. "
    "IEEE CVPR 2017, pp. 3462-3471.",
)


class NihCxr14(FolderSource):
    """A folder in NIH's layout. Findings, views and sexes are those that the metadata names, sorted."""

    layout = "nih-cxr14"

    def __init__(self, folder: Path, table: SourceTable, image_folders: NDArray[np.int8], terms: Terms) -> None:
        """`image_folders` holds, for each row, the place of its folder in IMAGE_FOLDERS, or -1."""
        self.id = folder.name
        self.table = table
        self.terms = terms
        self._folder = folder
        self._image_folders = image_folders

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return any(_editions(folder))

    @classmethod
    def open(cls, folder: Path) -> Self:
        metadata = max(_editions(folder), default=None)
        if metadata is None:
            raise SourceUnreadable(f"{folder.name} holds no {METADATA}: put NIH's metadata beside the images.")
        files, findings, patients, ages, sexes, views = read_columns(metadata, _METADATA_COLUMNS, within=folder)
        image_folders = _locate(files, folder)
        findings_of, label_names = label_sets(findings, metadata.name)
        view_codes, view_names = codes(views, metadata.name)
        sex_codes, sex_names = codes(sexes, metadata.name)
        table = SourceTable(
            files=files,
            patients=_patients(patients, metadata),
            labels=findings_of,
            views=view_codes,
            sexes=sex_codes,
            ages=values(ages, years, np.int16),
            flags=_flags(files, folder),
            present=image_folders >= 0,
            label_names=label_names,
            view_names=view_names,
            sex_names=sex_names,
            flag_names=OUTLIER_FLAGS,
        )
        return cls(folder, table, image_folders, read_terms(folder, NIH_TERMS))

    @classmethod
    def watched(cls, folder: Path) -> Iterable[Path]:
        beside = (OUTLIERS, DESCRIPTION_FILE, *IMAGE_FOLDERS)
        return [folder, *_editions(folder), *(folder / name for name in beside)]

    def image(self, row: int) -> PngFile:
        if not self.table.present[row]:
            raise ImageUnreadable("The file is absent.")
        path = self._folder / IMAGE_FOLDERS[self._image_folders[row]] / self.table.files[row]
        return PngFile(path, within=self._folder)


def _editions(folder: Path) -> Iterator[Path]:
    # A name that cannot be printed could not be named in an answer either.
    return (path for path in folder.glob(METADATA) if path.name.isprintable())


def _locate(files: Sequence[str], folder: Path) -> NDArray[np.int8]:
    """The place in IMAGE_FOLDERS of each file, -1 where it is absent; of a file that is there twice, the first."""
    place_of: dict[str, int] = {}
    for place, name in enumerate(IMAGE_FOLDERS):
        check_within(folder / name, folder, SourceUnreadable)
        try:
            for image in os.listdir(folder / name):  # noqa: PTH208 - 112,120 Path objects would take longer than all else
                place_of.setdefault(image, place)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SourceUnreadable(f"{folder.name}/{name} cannot be listed: {error.strerror}.") from error
    return np.fromiter((place_of.get(file, -1) for file in files), np.int8, len(files))


def _patients(texts: Sequence[str], path: Path) -> NDArray[np.int64]:
    try:
        return np.fromiter(map(int, texts), np.int64, len(texts))
    except (ValueError, OverflowError) as error:
        raise SourceUnreadable(f"{path.name} has a patient id that is not a number: {error}.") from error


def _flags(files: Sequence[str], folder: Path) -> NDArray[np.uint8]:
    """Each file's flags; those of its several rows in the list together."""
    path = folder / OUTLIERS
    if not os.path.lexists(path):
        return np.zeros(len(files), np.uint8)
    listed, *marks = read_columns(path, _OUTLIER_COLUMNS, within=folder)
    flags_of: dict[str, int] = {}
    for bit, column in enumerate(marks):
        for file, mark in zip(listed, column, strict=True):
            flags_of[file] = flags_of.get(file, 0) | (_is_set(mark, path) << bit)
    return np.fromiter((flags_of.get(file, 0) for file in files), np.uint8, len(files))


def _is_set(mark: str, path: Path) -> bool:
    try:
        return float(mark or 0) != 0
    except ValueError as error:
        raise SourceUnreadable(f"{path.name} marks an image with {mark!r}: write 1 or 0.") from error
