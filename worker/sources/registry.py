"""The sources there are: folders below RAGAN_SOURCES whose layout a module of this package knows, and built-in ones."""

import importlib
import inspect
import pkgutil
import threading
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

import worker.sources
from worker.contract.errors import SourceUnreadable, UnknownSource
from worker.sources.base import FolderSource, Source
from worker.sources.description import declared_layout, wrong_description
from worker.sources.names import no_such

_Stamp = tuple[tuple[int, int] | None, ...]
"""Modification time in nanoseconds and size of each watched path, None where there is nothing."""


class SourceSummary(BaseModel):
    """What a source has to choose from."""

    model_config = ConfigDict(frozen=True)

    id: str
    layout: str | None = Field(examples=["nih-cxr14"], description="Null if the source cannot be read.")
    rows: int = Field(description="Rows of the metadata.")
    images_present: int
    images_missing: int = Field(description="Rows whose image file is absent.")
    fields: dict[str, dict[str, int]] = Field(
        description="Rows by the values of each field, images present or not: label, view, sex, age_decade, flag."
    )
    licence: str | None = Field(None, description="What may be done with the images; null if nobody has said so.")
    citation: str | None = Field(None, description="Whom to cite for them; null if nobody has said so.")
    problem: str | None = Field(None, description="Why the source cannot be read, and what to do; null if it can.")


def summarise(source: Source) -> SourceSummary:
    """Count what a source has."""
    rows, present = len(source.table), int(source.table.present.sum())
    return SourceSummary(
        id=source.id,
        layout=source.layout,
        rows=rows,
        images_present=present,
        images_missing=rows - present,
        fields=source.table.counts(),
        licence=source.terms.licence,
        citation=source.terms.citation,
    )


def layouts() -> tuple[type[Source], ...]:
    """Every layout, by name: the subclasses of `Source` that the modules of this package define."""
    found = {
        member
        for module in pkgutil.iter_modules(worker.sources.__path__, f"{worker.sources.__name__}.")
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if issubclass(member, Source) and not inspect.isabstract(member)
    }
    return tuple(sorted(found, key=lambda layout: layout.layout))


@dataclass(frozen=True)
class _Opened:
    source: Source
    layout: type[FolderSource]
    stamp: _Stamp


class SourceCatalog:
    """The sources below one folder, opened when they are asked for and again when they have changed on disk.

    A folder that no layout recognises, or whose metadata cannot be read, is in the list with its problem: whoever
    mounted it should see why it cannot be used. A folder with the name of a built-in source is hidden by that.
    Threads may share a catalog; a source that one of them is opening is waited for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        known = layouts()
        self._built_in = {layout.layout: layout for layout in known if not issubclass(layout, FolderSource)}
        of_folders = (layout for layout in known if issubclass(layout, FolderSource))
        self._layouts = {layout.layout: layout for layout in sorted(of_folders, key=lambda layout: layout.asked_last)}
        self._built: dict[str, Source] = {}
        self._opened: dict[str, _Opened] = {}
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        """Every source by name, readable or not; SourceUnreadable if the folder of sources cannot be listed.

        Folders whose name begins with a dot, or cannot be printed and so not be asked for, are none.
        """
        try:
            folders = {entry.name for entry in self._root.iterdir() if _is_name(entry.name) and entry.is_dir()}
        except (FileNotFoundError, NotADirectoryError):
            folders = set()  # nothing mounted: there are the built-in ones
        except OSError as error:
            raise SourceUnreadable(
                f"The folder of sources {self._root} cannot be listed ({error.strerror}): let this user read it."
            ) from error
        return sorted(folders | self._built_in.keys())

    def get(self, source_id: str) -> Source:
        """Open a source, or take the one that is open.

        Raises:
            UnknownSource: there is none of this name.
            SourceUnreadable: no layout recognises the folder, or its metadata is not as the layout says.
        """
        if source_id not in (known := self.ids()):
            raise UnknownSource.at("#/source", no_such("source", source_id, known))
        with self._lock:
            if source_id not in self._built_in:
                return self._open(self._root / source_id)
            if source_id not in self._built:
                self._built[source_id] = self._built_in[source_id]()
            return self._built[source_id]

    def summary(self, source_id: str) -> SourceSummary:
        """What a source has, or why it cannot be read; UnknownSource if there is none of this name."""
        try:
            return summarise(self.get(source_id))
        except SourceUnreadable as error:
            return SourceSummary(
                id=source_id, layout=None, rows=0, images_present=0, images_missing=0, fields={}, problem=error.detail
            )

    def summaries(self) -> list[SourceSummary]:
        """What every source has, by name."""
        return [self.summary(source_id) for source_id in self.ids()]

    def _open(self, folder: Path) -> Source:
        opened = self._opened.get(folder.name)
        if opened and opened.stamp == _stamp(opened.layout, folder):
            return opened.source
        layout = self._layout_of(folder)
        stamp = _stamp(layout, folder)  # before reading: what changes meanwhile is seen the next time
        source = layout.open(folder)
        self._opened[folder.name] = _Opened(source, layout, stamp)
        return source

    def _layout_of(self, folder: Path) -> type[FolderSource]:
        if (declared := declared_layout(folder)) is not None:
            if declared not in self._layouts:
                raise wrong_description(folder, f"layout: {no_such('layout', declared, self._layouts)}")
            return self._layouts[declared]
        for layout in self._layouts.values():
            if layout.recognises(folder):
                return layout
        known = ", ".join(sorted(self._layouts))
        raise SourceUnreadable(f"The folder {folder.name} has no layout that RaGAN knows ({known}): see the README.")


def _is_name(name: str) -> bool:
    return name.isprintable() and not name.startswith(".")


def _stamp(layout: type[FolderSource], folder: Path) -> _Stamp:
    return tuple(_stamp_of(path) for path in layout.watched(folder))


def _stamp_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # absent or out of reach: if it matters, opening the source says so
    return status.st_mtime_ns, status.st_size
