"""Collections of small images that are handed out as NumPy arrays, such as MedMNIST.

    anything.npz                          all arrays in one file, the only one of its kind in the folder; or
    images.npy  labels.npy  …             a file for each, which may be of any size: it is read in place

    images                                uint8 (N, H, W) or (N, H, W, 1), 0 black to 255 white; (N, H, W, 3) in colour
    labels                                optional: (N,) or (N, 1), numbers or texts; (N, K) of 0 and 1 for K findings
    patients  ages  sexes  views          optional: (N,)
    label_names.txt                       optional: a line for each number, or for each of the K findings
    source.toml                           optional: licence and citation, see `worker.sources.description`

With `train_`, `val_` and `test_` before their names there are up to three of each, one for a part: a dataset whose
split is `source` keeps to them. Without `patients`, each image counts as a patient of its own.
"""

import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, RaganError, SourceUnreadable
from worker.sources.base import (
    IMPOSSIBLE_AGE,
    OUTLIER_FLAGS,
    SPLITS,
    UNKNOWN_AGE,
    FolderSource,
    GreyImage,
    SourceTable,
)
from worker.sources.columns import codes, label_sets, values
from worker.sources.description import DESCRIPTION_FILE
from worker.sources.files import check_within, open_plain
from worker.sources.pixels import MAX_PIXELS, merge_channels
from worker.sources.terms import Terms, read_terms

ARCHIVES = "*.npz"
LABEL_NAMES = "label_names.txt"
PREFIXES = ("train_", "val_", "test_")
"""What MedMNIST calls the parts, in the order of SPLITS."""
ANY_PREFIX = ("", *PREFIXES)
COLUMNS = ("labels", "patients", "ages", "sexes", "views")
MAX_PACKED_BYTES = 2**31
"""Of one array within an NPZ file, which has to be unpacked whole."""
MAX_ROWS = 2_000_000
UNKNOWN_TEXTS = frozenset({"", "nan", "none", "-1"})
"""How arrays, which have a value everywhere, say that there is none."""


@dataclass(frozen=True)
class _Array:
    """One array: a member of an NPZ file, or without a member an NPY file."""

    path: Path
    within: Path
    member: str | None = None

    @property
    def name(self) -> str:
        return f"{self.member.removesuffix('.npy')} in {self.path.name}" if self.member else self.path.name

    def header(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type, as the file says; SourceUnreadable if that cannot be, or is too large to be unpacked."""
        with self._opened(SourceUnreadable) as (file, size):
            shape, _, kind = _read_header(file)
            needed = math.prod(shape) * kind.itemsize
            if needed > size:
                raise SourceUnreadable(f"The array {self.name} ends early: get the file anew.")
            if self.member and needed > MAX_PACKED_BYTES:
                raise SourceUnreadable(
                    f"The array {self.name} has {needed:,} bytes, and {MAX_PACKED_BYTES:,} are the most that are "
                    "unpacked: save it as an NPY file, which is read in place."
                )
            return shape, kind

    def load(self, refusal: type[RaganError]) -> NDArray[Any]:
        """All of it: from an NPZ file a copy in memory, else mapped."""
        if self.member is None:
            check_within(self.path, self.within, refusal)
            mapped: NDArray[Any] = np.load(os.path.realpath(self.path), mmap_mode="r", allow_pickle=False)
            return mapped
        with self._opened(refusal) as (file, _):
            return np.lib.format.read_array(file, allow_pickle=False)

    @contextmanager
    def _opened(self, refusal: type[RaganError]) -> Iterator[tuple[BinaryIO, int]]:
        """The file of the array alone, and its size once unpacked."""
        try:
            with open_plain(self.path, within=self.within, refusal=refusal) as file:
                if self.member is None:
                    yield file, os.fstat(file.fileno()).st_size
                    return
                with zipfile.ZipFile(file) as archive, archive.open(self.member) as member:
                    yield cast("BinaryIO", member), archive.getinfo(self.member).file_size
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise refusal(f"The array {self.name} cannot be read ({error}): save it again, by NumPy.") from error
        except OSError as error:
            raise refusal(f"{self.path.name} cannot be read ({error.strerror or error}): get it anew.") from error


@dataclass(frozen=True)
class ArrayImage:
    """The way to one image of an array."""

    array: _Array
    stamp: int
    """Modification time of the file in nanoseconds, so that what was read of an older one is not taken for it."""
    index: int

    def read(self) -> GreyImage:
        """ImageUnreadable if the file is gone, or is another one by now."""
        try:
            image = _pixels(self.array, self.stamp)[self.index]
        except (OSError, ValueError, IndexError) as error:
            raise ImageUnreadable(f"The array {self.array.name} cannot be read any more ({error}).") from error
        return merge_channels(np.ascontiguousarray(image[..., None] if image.ndim == 2 else image))


@lru_cache(maxsize=len(SPLITS))
def _pixels(array: _Array, stamp: int) -> NDArray[np.uint8]:  # noqa: ARG001 - part of what is remembered
    """All images of an array, which one process reads again and again."""
    return array.load(ImageUnreadable)


@dataclass(frozen=True)
class _Part:
    """What there is of one part: its images, and the columns by name."""

    split: int | None
    images: _Array
    rows: int
    columns: dict[str, _Array]


class Arrays(FolderSource):
    """A folder of arrays. Rows are the parts one after the other; files are named after part and place."""

    layout = "arrays"

    def __init__(self, folder: Path, parts: Sequence[_Part], table: SourceTable, terms: Terms) -> None:
        self.id = folder.name
        self.table = table
        self.terms = terms
        self._parts = parts
        self._first_rows = np.cumsum([0, *(part.rows for part in parts)])
        self._stamps = [part.images.path.stat().st_mtime_ns for part in parts]

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return bool(_archives(folder)) or any((folder / f"{prefix}images.npy").exists() for prefix in ANY_PREFIX)

    @classmethod
    def open(cls, folder: Path) -> Self:
        parts = _parts(folder)
        if sum(part.rows for part in parts) > MAX_ROWS:
            raise SourceUnreadable(f"{folder.name} has more than {MAX_ROWS:,} images: make several sources of it.")
        return cls(folder, parts, _table(folder, parts), read_terms(folder, Terms()))

    @classmethod
    def watched(cls, folder: Path) -> Iterable[Path]:
        names = [f"{prefix}{name}.npy" for prefix in ANY_PREFIX for name in ("images", *COLUMNS)]
        return [folder, *_archives(folder), *(folder / name for name in (LABEL_NAMES, DESCRIPTION_FILE, *names))]

    def image(self, row: int) -> ArrayImage:
        place = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return ArrayImage(self._parts[place].images, self._stamps[place], row - int(self._first_rows[place]))


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(ARCHIVES) if path.name.isprintable())


def _parts(folder: Path) -> list[_Part]:
    """The parts that there are, or the only one; SourceUnreadable if there is none, or no sense in it."""
    arrays = _arrays(folder)
    prefixes = [prefix for prefix in PREFIXES if f"{prefix}images" in arrays]
    if bool(prefixes) == ("images" in arrays):
        found = ", ".join(sorted(arrays)) or "none"
        raise SourceUnreadable(
            f"{folder.name} has to hold either an array `images`, or arrays `train_images`, `val_images`, "
            f"`test_images`; its arrays are: {found}."
        )
    if not prefixes:
        return [_part(None, "", arrays)]
    return [_part(PREFIXES.index(prefix), prefix, arrays) for prefix in prefixes]


def _arrays(folder: Path) -> dict[str, _Array]:
    """What there is, by name."""
    archives = _archives(folder)
    if len(archives) > 1:
        raise SourceUnreadable(f"{folder.name} holds {len(archives)} NPZ files: make a folder for each.")
    if not archives:
        return {path.stem: _Array(path, folder) for path in folder.glob("*.npy") if path.name.isprintable()}
    (path,) = archives
    try:
        with open_plain(path, within=folder, refusal=SourceUnreadable) as file, zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy") and name.isprintable()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise SourceUnreadable(f"{path.name} is no sound NPZ file ({error}): get it anew.") from error
    except OSError as error:
        raise SourceUnreadable(
            f"{path.name} cannot be read ({error.strerror or error}): let this user read it."
        ) from error
    return {name.removesuffix(".npy"): _Array(path, folder, name) for name in names}


def _part(split: int | None, prefix: str, arrays: dict[str, _Array]) -> _Part:
    images = arrays[f"{prefix}images"]
    shape, kind = images.header()
    if kind != np.uint8 or len(shape) not in {3, 4} or shape[3:] not in {(), (1,), (3,)}:
        raise SourceUnreadable(
            f"The array {images.name} is {kind} of shape {shape}: it has to be uint8 of shape (images, height, width), "
            "0 black to 255 white, with 1 or 3 channels last if there are channels."
        )
    if not 0 < shape[1] * shape[2] <= MAX_PIXELS:
        raise SourceUnreadable(f"The array {images.name} has images of {shape[2]} x {shape[1]} pixels.")
    columns = {name: arrays[f"{prefix}{name}"] for name in COLUMNS if f"{prefix}{name}" in arrays}
    for column in columns.values():
        (length, *more), kind = column.header()
        if length != shape[0] or (more not in ([], [1]) and column is not columns.get("labels")) or len(more) > 1:
            raise SourceUnreadable(
                f"The array {column.name} has shape {(length, *more)} beside {shape[0]} images: it has to have one "
                "value for each."
            )
        if kind.kind not in "biufUS":
            raise SourceUnreadable(f"The array {column.name} is {kind}: it has to hold numbers or texts.")
    return _Part(split, images, shape[0], columns)


def _table(folder: Path, parts: Sequence[_Part]) -> SourceTable:
    rows = sum(part.rows for part in parts)
    columns = {name: _texts(folder, parts, name) for name in COLUMNS}
    label_codes, label_names = label_sets(columns["labels"] or [""] * rows, folder.name)
    views, view_names = codes(columns["views"] or [""] * rows, folder.name)
    sexes, sex_names = codes(columns["sexes"] or [""] * rows, folder.name)
    patients = np.unique(columns["patients"], return_inverse=True)[1] if columns["patients"] else np.arange(rows)
    return SourceTable(
        files=[
            f"{'' if part.split is None else SPLITS[part.split] + '/'}{index:07d}"
            for part in parts
            for index in range(part.rows)
        ],
        patients=patients.astype(np.int64),
        labels=label_codes,
        views=views,
        sexes=sexes,
        ages=values(columns["ages"] or [""] * rows, _age, np.int16),
        flags=np.zeros(rows, np.uint8),
        present=np.ones(rows, np.bool_),
        label_names=label_names,
        view_names=view_names,
        sex_names=sex_names,
        flag_names=OUTLIER_FLAGS,
        splits=None if parts[0].split is None else _splits(parts),
        names_patients=bool(columns["patients"]),
    )


def _splits(parts: Sequence[_Part]) -> NDArray[np.uint8]:
    return np.repeat(np.array([part.split for part in parts], np.uint8), [part.rows for part in parts])


def _texts(folder: Path, parts: Sequence[_Part], name: str) -> list[str]:
    """A column over all parts, none if no part has it; SourceUnreadable if some have it and others not."""
    having = [part for part in parts if name in part.columns]
    if not having:
        return []
    if len(having) != len(parts):
        raise SourceUnreadable(f"{folder.name} has `{name}` for some of its parts only: add or remove the others.")
    named = _label_names(folder) if name == "labels" else []
    return [text for part in parts for text in _column(part.columns[name], named)]


def _column(array: _Array, names: Sequence[str]) -> list[str]:
    """Each value as a text; numbers that have names by these, and findings marked by 1 in a row with `|` between."""
    loaded = array.load(SourceUnreadable)
    if loaded.ndim == 2 and loaded.shape[1] > 1:
        findings = names or [str(finding) for finding in range(loaded.shape[1])]
        if len(findings) != loaded.shape[1]:
            raise SourceUnreadable(
                f"{LABEL_NAMES} names {len(findings)} of the {loaded.shape[1]} findings of {array.name}."
            )
        return ["|".join(name for name, mark in zip(findings, row, strict=True) if mark) for row in loaded.tolist()]
    texts = [_text(value) for value in loaded.reshape(-1).tolist()]
    if not names:
        return texts
    try:
        return [names[int(text)] for text in texts]
    except (ValueError, IndexError) as error:
        raise SourceUnreadable(
            f"{LABEL_NAMES} has {len(names)} lines, for 0 to {len(names) - 1}, and {array.name} holds others ({error})."
        ) from error


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if str(value).strip().lower() in UNKNOWN_TEXTS else str(value).strip()


def _age(text: str) -> int:
    if not text:
        return UNKNOWN_AGE
    try:
        return min(max(int(float(text)), IMPOSSIBLE_AGE), int(np.iinfo(np.int16).max))
    except (ValueError, OverflowError):
        return IMPOSSIBLE_AGE


def _label_names(folder: Path) -> list[str]:
    path = folder / LABEL_NAMES
    if not os.path.lexists(path):
        return []
    try:
        with open_plain(path, within=folder, refusal=SourceUnreadable) as file:
            return [line.strip() for line in file.read(2**20).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{LABEL_NAMES} of {folder.name} cannot be read ({error}): save it as UTF-8.") from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type from the head of an NPY file, of either version that NumPy writes for such arrays."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the NPY format")
    return read(file)
