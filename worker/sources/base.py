"""What a source is: a table of rows, and a way to each row's picture.

A layout is one module of this package that defines a subclass of `Source`; `worker.sources.registry` finds it.
Nothing here needs TensorFlow, a queue or the web.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from worker.contract.requests import OLDEST_POSSIBLE_AGE
from worker.sources.terms import Terms

UNKNOWN_AGE = -1
"""The metadata names no age."""
IMPOSSIBLE_AGE = -2
"""The metadata names something that is no age at all; an age above OLDEST_POSSIBLE_AGE is kept as it is."""
UNKNOWN = "unknown"
"""The view, sex or decade of a row whose metadata has none."""
NO_FINDING = "No Finding"
"""What NIH calls an image without any finding."""
SPLITS = ("train", "validation", "test")
"""The parts of a dataset."""
OUTLIER_FLAGS = ("inverted", "not_frontal", "rotated")
"""Flags that every layout knows, since a request excludes them by default; without an outlier list none is set."""


@dataclass(frozen=True)
class GreyImage:
    """One grey channel as it was read: float32 or uint8 of shape (height, width), 0 black to 255 white.

    `colour` tells that the channels of the file differed, so that grey was computed from them.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    colour: bool = False


class ImageHandle(Protocol):
    """A way to one picture, small enough to be sent to another process."""

    def read(self) -> GreyImage:
        """The picture; ImageUnreadable, with a reason for people, if there is none to be had."""
        ...


@dataclass(frozen=True)
class SourceTable:
    """A source's rows as columns of equal length, in the order of the metadata.

    `labels` and `flags` are bit sets over `label_names` and `flag_names`; `views` and `sexes` index `view_names` and
    `sex_names`; `ages` are years, UNKNOWN_AGE or IMPOSSIBLE_AGE; `patients` are equal for equal patients; `present`
    tells which rows have a picture. `splits` holds for each row the part that the source puts it in, as an index into
    SPLITS; None if it says nothing of that. Where the source names no patients (`names_patients`), each row is one.
    """

    files: Sequence[str]
    patients: NDArray[np.int64]
    labels: NDArray[np.uint64]
    views: NDArray[np.uint8]
    sexes: NDArray[np.uint8]
    ages: NDArray[np.int16]
    flags: NDArray[np.uint8]
    present: NDArray[np.bool_]
    label_names: tuple[str, ...]
    view_names: tuple[str, ...]
    sex_names: tuple[str, ...]
    flag_names: tuple[str, ...]
    splits: NDArray[np.uint8] | None = None
    names_patients: bool = True

    def __len__(self) -> int:
        return len(self.files)

    @property
    def impossible_ages(self) -> NDArray[np.bool_]:
        """Which rows have an age that nobody has."""
        return (self.ages < UNKNOWN_AGE) | (self.ages > OLDEST_POSSIBLE_AGE)

    def labels_in(self, bits: int) -> tuple[str, ...]:
        """The findings in one bit set, in the order of `label_names`."""
        return tuple(name for bit, name in enumerate(self.label_names) if bits >> bit & 1)

    def counts(self, rows: NDArray[np.int64] | None = None) -> dict[str, dict[str, int]]:
        """How many of these rows, or of all, have each value of `label`, `view`, `sex`, `age_decade` and `flag`.

        A row counts once under each of its labels and flags. Values that no row has are named with 0, decades are not.
        """
        chosen = slice(None) if rows is None else rows
        return {
            "label": _count_bits(self.labels[chosen], self.label_names),
            "view": _count_codes(self.views[chosen], self.view_names),
            "sex": _count_codes(self.sexes[chosen], self.sex_names),
            "age_decade": _count_decades(self.ages[chosen], self.impossible_ages[chosen]),
            "flag": _count_bits(self.flags[chosen], self.flag_names),
        }


def _count_bits(sets: NDArray[np.uint64] | NDArray[np.uint8], names: Iterable[str]) -> dict[str, int]:
    return {name: int(np.count_nonzero(sets & sets.dtype.type(1 << bit))) for bit, name in enumerate(names)}


def _count_codes(codes: NDArray[np.uint8], names: Sequence[str]) -> dict[str, int]:
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))


def _count_decades(ages: NDArray[np.int16], impossible: NDArray[np.bool_]) -> dict[str, int]:
    unknown = ages == UNKNOWN_AGE
    decades, images = np.unique(ages[~(impossible | unknown)] // 10, return_counts=True)
    counted = {decade_name(10 * decade): int(n) for decade, n in zip(decades, images, strict=True)}
    others = {UNKNOWN: int(np.count_nonzero(unknown)), "impossible": int(np.count_nonzero(impossible))}
    return counted | {name: n for name, n in others.items() if n}


def decade_name(age: int) -> str:
    """The ten years that an age in years falls into, as in `20-29`."""
    decade = age // 10
    return f"{10 * decade}-{10 * decade + 9}"


class Source(ABC):
    """A collection of images with metadata. Immutable once opened.

    A subclass that is not a `FolderSource` is built in: it is opened without arguments and its layout is its id.
    """

    layout: ClassVar[str]
    """The layout's name, as `GET /v1/sources` shows it."""

    id: str
    table: SourceTable
    terms: Terms = Terms()

    @abstractmethod
    def image(self, row: int) -> ImageHandle:
        """The way to the picture of one row; ImageUnreadable if the row has none."""


class FolderSource(Source):
    """A source that is a folder below RAGAN_SOURCES; the folder's name is its id."""

    asked_last: ClassVar[bool] = False
    """Whether other layouts are asked first if they recognise a folder, since this one takes nearly any."""

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder that names no layout has this one; decided by a look, without reading it all."""

    @classmethod
    @abstractmethod
    def open(cls, folder: Path) -> Self:
        """Read the metadata; SourceUnreadable with a sentence if it is not as the layout says."""

    @classmethod
    @abstractmethod
    def watched(cls, folder: Path) -> Iterable[Path]:
        """Files and folders, there or not, that tell by their modification time whether to open the source again."""
