"""Any CSV file with a line for each image, beside a description that says which column is what.

    metadata.csv                    under any name
    images/…/*.png                  PNG and JPEG files, anywhere in the folder
    source.toml                     says `layout = "table"`, and the rest: see `worker.sources.table_description`

A row without a picture is normal. Without patients, each image counts as one. Changes are noticed of the CSV file, of
the description and of the folder that files are named from; after changes in folders within it, touch one of those.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.sources.base import OUTLIER_FLAGS, FolderSource, SourceTable
from worker.sources.classes import LABEL_SEPARATOR
from worker.sources.columns import PARTS, codes, label_sets, values, years
from worker.sources.description import DESCRIPTION_FILE, read_description, wrong_description
from worker.sources.files import check_within
from worker.sources.image_files import ImageFile
from worker.sources.table_description import Presence, TableDescription
from worker.sources.tables import read_columns
from worker.sources.terms import Terms, terms_of

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
"""An id that can be kept as it is; `007` might be another patient than `7`."""
_MARKS: Mapping[str, Presence] = {"true": "present", "false": "absent", "": "absent"}
"""Those that are no numbers."""
_NUMBERS: Mapping[float, Presence] = {1.0: "present", 0.0: "absent"}


class Table(FolderSource):
    """A folder with a table. Rows are those of the table; findings, views and sexes are those that it names, sorted."""

    layout = "table"

    def __init__(self, folder: Path, images: Path, table: SourceTable, terms: Terms) -> None:
        """`images` is the folder that files are named from."""
        self.id = folder.name
        self.table = table
        self.terms = terms
        self._folder = folder
        self._images = images

    @classmethod
    def recognises(cls, folder: Path) -> bool:  # noqa: ARG003 - only a description tells which column is what
        return False

    @classmethod
    def open(cls, folder: Path) -> Self:
        said = read_description(folder, TableDescription)
        if said is None:
            raise SourceUnreadable(f"{folder.name} has no {DESCRIPTION_FILE}: write there which column is what.")
        return cls(folder, folder / said.images, _Rows.read(folder, said).table(), terms_of(said))

    @classmethod
    def watched(cls, folder: Path) -> Iterable[Path]:
        always = [folder, folder / DESCRIPTION_FILE]
        try:
            said = read_description(folder, TableDescription)
        except SourceUnreadable:
            return always  # where it has changed, that is seen by now
        return always if said is None else [*always, folder / said.table, folder / said.images]

    def image(self, row: int) -> ImageFile:
        if not self.table.present[row]:
            raise ImageUnreadable("The file is absent.")
        return ImageFile(self._images / self.table.files[row], within=self._folder)


@dataclass(frozen=True)
class _Rows:
    """The texts of a table, by the keys of the description that name their columns."""

    folder: Path
    said: TableDescription
    texts: Mapping[str, list[str]]
    files: list[str]

    @classmethod
    def read(cls, folder: Path, said: TableDescription) -> Self:
        if not os.path.lexists(folder / said.table):
            raise wrong_description(folder, f"table: There is no file {said.table!r} in {folder.name}: put it there.")
        titles = said.titles()
        named_by = [f"`{key}` of {DESCRIPTION_FILE}" for key in titles]
        columns = read_columns(
            folder / said.table, [[title] for title in titles.values()], within=folder, named_by=named_by
        )
        texts = dict(zip(titles, columns, strict=True))
        return cls(folder, said, texts, [file.strip() for file in texts["columns.file"]])

    def table(self) -> SourceTable:
        """SourceUnreadable if there is no sense in it, or none of its images is there."""
        present = self._present()
        labels, label_names = self._labels()
        views, view_names = codes(self._column("view"), self.said.table)
        sexes, sex_names = codes(self._column("sex"), self.said.table)
        return SourceTable(
            files=self.files,
            patients=self._patients(present),
            labels=labels,
            views=views,
            sexes=sexes,
            ages=values(self._column("age"), years, np.int16),
            flags=np.zeros(len(self.files), np.uint8),
            present=present,
            label_names=label_names,
            view_names=view_names,
            sex_names=sex_names,
            flag_names=OUTLIER_FLAGS,
            splits=self._splits(present),
            names_patients=self.said.columns.patient is not None,
        )

    def _present(self) -> NDArray[np.bool_]:
        """Which rows have a picture: each folder that they name is listed once."""
        if len(set(self.files)) < len(self.files):
            ((file, rows),) = Counter(filter(None, self.files)).most_common(1) or [("", 1)]
            if rows > 1:
                raise SourceUnreadable(f"{self.said.table} names {file!r} in {rows:,} rows: leave one for each image.")
        listed: dict[str, frozenset[str]] = {}
        present = np.zeros(len(self.files), np.bool_)
        for row, file in enumerate(self.files):
            name = file.rpartition("/")[2]
            inner = file.removesuffix(name)
            if inner not in listed:
                listed[inner] = self._listing(inner)
            present[row] = name in listed[inner]
        if self.files and not present.any():
            raise wrong_description(
                self.folder,
                f"columns.file: None of the {len(self.files):,} files is there, such as {self.files[0]!r}: name the "
                "folder that they are named from as `images`.",
            )
        return present

    def _listing(self, inner: str) -> frozenset[str]:
        """What is in a folder that the table names; nothing if that is out of the source, or cannot be a name."""
        if inner.startswith("/") or ".." in inner.split("/") or not inner.isprintable():
            return frozenset()
        folder = self.folder / self.said.images / inner
        check_within(folder, self.folder, SourceUnreadable)
        try:
            return frozenset(os.listdir(folder))  # noqa: PTH208 - a million Path objects would take longer than all else
        except PermissionError as error:
            raise SourceUnreadable(f"The folder {inner!r} cannot be listed: {error.strerror}.") from error
        except OSError:
            return frozenset()

    def _column(self, field: str) -> list[str]:
        """What the texts of a column stand for, empty ones if there is none."""
        texts = self.texts.get(f"columns.{field}")
        if texts is None:
            return [""] * len(self.files)
        stands_for: Mapping[str, str] = getattr(self.said.values, field)
        meant = {text: stands_for.get(text.strip(), text.strip()) for text in set(texts)}
        return [meant[text] for text in texts]

    def _labels(self) -> tuple[NDArray[np.uint64], tuple[str, ...]]:
        """The findings of each row, from a column of all or from one for each."""
        stands_for = self.said.values.labels
        if titles := self.said.label_columns:
            bits, names = label_sets([stands_for.get(title, title) for title in titles], self.said.table)
            labels = np.zeros(len(self.files), np.uint64)
            for place in range(len(titles)):
                marks = values(self.texts[f"label_columns.{place}"], partial(self._is_marked, place), np.uint64)
                labels |= marks * bits[place]
            return labels, names

        def findings(text: str) -> str:
            parts = (part.strip() for part in text.split(self.said.labels_separator))
            return LABEL_SEPARATOR.join(stands_for.get(part, part) for part in parts)

        texts = self.texts.get("columns.labels") or [""] * len(self.files)
        found = {text: findings(text) for text in set(texts)}
        return label_sets([found[text] for text in texts], self.said.table)

    def _is_marked(self, place: int, mark: str) -> bool:
        """1 and true are; 0, false and nothing are not; of others, as -1 for a doubt, the description has to tell."""
        text = mark.strip()
        meant = self.said.values.label_columns.get(text) or _MARKS.get(text.lower()) or _number_mark(text)
        if meant is None:
            row = self.texts[f"label_columns.{place}"].index(mark)
            raise SourceUnreadable(
                f"{self.said.table} marks {self.files[row]!r}, in row {row + 1:,} below the header, with {text!r} in "
                f"the column {self.said.label_columns[place]!r}: say under [values.label_columns] of "
                f'{DESCRIPTION_FILE} whether that is "present" or "absent", write 1 or 0, or leave the column out of '
                "`label_columns`."
            )
        return meant == "present"

    def _patients(self, present: NDArray[np.bool_]) -> NDArray[np.int64]:
        """A number for each patient, its own where all have one; without a column, each row is a patient."""
        if self.said.columns.patient is None:
            return np.arange(len(self.files))
        texts = [text.strip() for text in self.texts["columns.patient"]]
        self._refuse_blanks(texts, present, "patient", "leave out `columns.patient`")
        if all(map(_NUMBER.fullmatch, set(texts))):
            return values(texts, int, np.int64)
        number_of = {text: number for number, text in enumerate(sorted(set(texts)))}
        return values(texts, number_of.__getitem__, np.int64)

    def _splits(self, present: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
        if self.said.columns.split is None:
            return None
        texts = self._column("split")
        self._refuse_blanks(texts, present, "split", "leave out `columns.split`")
        for text in sorted(set(texts) - {""}):
            if text.lower() not in PARTS:
                raise SourceUnreadable(
                    f"{self.said.table} puts images into the part {text!r}: write under [values.split] of "
                    f"{DESCRIPTION_FILE} which of train, validation and test it is."
                )
        return values(texts, lambda text: PARTS.get(text.lower(), 0), np.uint8)

    def _refuse_blanks(self, texts: Sequence[str], present: NDArray[np.bool_], field: str, or_else: str) -> None:
        if "" in texts and (blank := present & np.array([not text for text in texts])).any():
            raise SourceUnreadable(
                f"{self.said.table} names no {field} of {np.count_nonzero(blank):,} images, such as "
                f"{self.files[int(blank.argmax())]!r}: fill it in, or {or_else}."
            )


def _number_mark(text: str) -> Presence | None:
    try:
        return _NUMBERS.get(float(text))
    except ValueError:
        return None
