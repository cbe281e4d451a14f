"""What a source is: a table of rows, and a way to each row's picture.

A layout is one module of this package that defines a subclass of `Source`; `worker.sources.registry` finds it.
Nothing here needs TensorFlow, a queue or the web.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

UNKNOWN_AGE = -1


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
    `sex_names`; `ages` are years, UNKNOWN_AGE where the metadata has none; `patients` are equal for equal patients.
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

    def __len__(self) -> int:
        return len(self.files)


class Source(ABC):
    """A collection of images with metadata. Immutable once opened."""

    layout: ClassVar[str]
    """The layout's name, as `GET /v1/sources` shows it."""

    id: str
    table: SourceTable

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder under RAGAN_SOURCES has this layout; decided by a look, without reading it all."""

    @classmethod
    @abstractmethod
    def open(cls, folder: Path) -> Self:
        """Read the metadata; SourceUnreadable with a sentence if it is not as the layout says."""

    @abstractmethod
    def image(self, row: int) -> ImageHandle:
        """The way to the picture of one row."""
