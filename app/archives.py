"""ZIP archives that are laid out before they are sent: every byte has its place, so that any stretch can be sent alone.

Entries are stored, not compressed, and have a fixed time stamp, so that equal contents make equal archives. The format
is that of PKWARE's APPNOTE 6.3: each entry follows its header, and the directory, a record for each entry, ends it all.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from app.parts import Part, in_file, in_memory, made_when_read, read, total_size

ZIP64_FROM, ZIP64_COUNT_FROM = 0xFFFFFFFF, 0xFFFF
"""Sizes and places, and numbers of entries, from which on the format's own fields are too small; others follow them."""

_HEADER = struct.Struct("<4s5H3I2H")
_DESCRIPTOR, _DESCRIPTOR_64 = struct.Struct("<4s3I"), struct.Struct("<4sI2Q")
_RECORD = struct.Struct("<4s6H3I5H2I")
_RECORD_NAME, _RECORD_EXTRA, _RECORD_COMMENT, _RECORD_PLACE = 10, 11, 12, 16
_END = struct.Struct("<4s4H2IH")
_END_64, _LOCATOR_64 = struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")

_VERSION = 45
"""Of the format that a reader must know: the one that brought zip64."""
_MADE_ON_UNIX = 3 << 8
_CHECKSUM_FOLLOWS = 1 << 3
_STORED = 0
_TIME, _DATE = 0, 1 << 5 | 1
"""The first that the format knows, in 1980."""
_READABLE_FILE = 0o100644 << 16
_SEE_EXTRA, _SEE_END_64 = 0xFFFFFFFF, 0xFFFF


class Archive:
    """A ZIP archive, to which entries are added one after the other."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._directory: list[Part] = []
        self._count = 0
        self._size = 0

    def add(self, name: str, content: Sequence[Part]) -> None:
        """Add an entry with an ASCII name. Its bytes are not read before they are sent."""
        entry = _Entry(name.encode("ascii"), tuple(content), self._size)
        self._append(in_memory(entry.header()), *content, made_when_read(entry.descriptor_size, entry.descriptor))
        self._directory.append(made_when_read(entry.record_size, entry.record))
        self._count += 1

    def add_all_of(self, path: Path) -> None:
        """Add the entries of an archive as they lie there; BadZipFile unless it ends with its directory."""
        with path.open("rb") as file:
            file.seek(-_END.size, os.SEEK_END)
            signature, _, _, _, count, size, place, comment = _END.unpack(file.read())
        if signature != b"PK\5\6" or comment or place >= ZIP64_FROM:
            raise BadZipFile(f"{path} does not end with a directory that can be added to another.")
        far = self._size + place >= ZIP64_FROM
        moved = partial(_moved, in_file(path, place, size), self._size, far=far)
        self._directory.append(made_when_read(size + (count * len(_zip64(0)) if far else 0), moved))
        self._append(in_file(path, size=place))
        self._count += count

    def parts(self) -> list[Part]:
        """The whole archive, to be sent."""
        end = _end(self._count, total_size(self._directory), self._size)
        return [*self._parts, *self._directory, in_memory(end)]

    def _append(self, *parts: Part) -> None:
        self._parts += parts
        self._size += total_size(parts)


@dataclass(frozen=True)
class _Entry:
    """An entry whose checksum, which costs a reading of its content, is told after it and in the directory."""

    name: bytes
    content: tuple[Part, ...]
    place: int

    @cached_property
    def size(self) -> int:
        return total_size(self.content)

    @cached_property
    def checksum(self) -> int:
        checksum = 0
        for piece in read(self.content, range(self.size)):
            checksum = zlib.crc32(piece, checksum)
        return checksum

    @property
    def large(self) -> bool:
        return self.size >= ZIP64_FROM

    def header(self) -> bytes:
        extra = _zip64(0, 0) if self.large else b""
        size = _SEE_EXTRA if self.large else 0
        fields = _VERSION, _CHECKSUM_FOLLOWS, _STORED, _TIME, _DATE, 0, size, size, len(self.name), len(extra)
        return _HEADER.pack(b"PK\3\4", *fields) + self.name + extra

    @property
    def descriptor_size(self) -> int:
        return (_DESCRIPTOR_64 if self.large else _DESCRIPTOR).size

    def descriptor(self) -> bytes:
        layout = _DESCRIPTOR_64 if self.large else _DESCRIPTOR
        return layout.pack(b"PK\7\x08", self.checksum, self.size, self.size)

    @property
    def record_size(self) -> int:
        return _RECORD.size + len(self.name) + len(self._extra())

    def record(self) -> bytes:
        size = _SEE_EXTRA if self.large else self.size
        place = _SEE_EXTRA if self.place >= ZIP64_FROM else self.place
        extra = self._extra()
        return (
            _RECORD.pack(
                *(b"PK\1\2", _MADE_ON_UNIX | _VERSION, _VERSION, _CHECKSUM_FOLLOWS, _STORED, _TIME, _DATE),
                *(self.checksum, size, size, len(self.name), len(extra), 0, 0, 0, _READABLE_FILE, place),
            )
            + self.name
            + extra
        )

    def _extra(self) -> bytes:
        numbers = ([self.size, self.size] if self.large else []) + ([self.place] if self.place >= ZIP64_FROM else [])
        return _zip64(*numbers) if numbers else b""


def _zip64(*numbers: int) -> bytes:
    """The extra field that has the numbers for which the fields before it are too small."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def _moved(directory: Part, by: int, *, far: bool) -> bytes:
    """A directory whose entries lie so many bytes later; if that is `far`, their places are in extra fields."""
    moved = bytearray()
    for record, texts in _records(b"".join(read([directory], range(directory.size)))):
        place = record[_RECORD_PLACE] + by
        extra = _zip64(place) if far else b""
        record[_RECORD_PLACE] = _SEE_EXTRA if far else place
        record[_RECORD_EXTRA] += len(extra)
        comment = len(texts) - record[_RECORD_COMMENT]
        moved += _RECORD.pack(*record) + texts[:comment] + extra + texts[comment:]
    return bytes(moved)


def _records(directory: bytes) -> Iterator[tuple[list[Any], bytes]]:
    """Each record's fields, and what follows them: name, extra field and comment."""
    at = 0
    while at < len(directory):
        record = list(_RECORD.unpack_from(directory, at))
        begin = at + _RECORD.size
        at = begin + record[_RECORD_NAME] + record[_RECORD_EXTRA] + record[_RECORD_COMMENT]
        yield record, directory[begin:at]


def _end(count: int, directory_size: int, directory_place: int) -> bytes:
    ends_64 = b""
    if count >= ZIP64_COUNT_FROM or max(directory_size, directory_place) >= ZIP64_FROM:
        place = directory_place + directory_size
        versions = _MADE_ON_UNIX | _VERSION, _VERSION
        counts_and_sizes = count, count, directory_size, directory_place
        ends_64 = _END_64.pack(b"PK\6\6", _END_64.size - 12, *versions, 0, 0, *counts_and_sizes)
        ends_64 += _LOCATOR_64.pack(b"PK\6\7", 0, place, 1)
        count, directory_size, directory_place = _SEE_END_64, _SEE_EXTRA, _SEE_EXTRA
    return ends_64 + _END.pack(b"PK\5\6", 0, 0, count, count, directory_size, directory_place, 0)
