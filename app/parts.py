"""Downloads as parts: what is sent is known byte for byte before it is read, so that any stretch can be sent alone."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 * 1024
"""Bytes sent at a time: each piece costs a turn of the event loop, however small it is."""


@dataclass(frozen=True)
class Part:
    """Some bytes of a download: how many there are, and from where in what `open` gives they are read.

    `version` differs where bytes of the same size may differ.
    """

    size: int
    open: Callable[[], BinaryIO]
    offset: int = 0
    version: str = ""


def in_file(path: Path, offset: int = 0, size: int | None = None) -> Part:
    """A file of the store, or a stretch of one; FileNotFoundError.

    Such files are replaced and never changed, so that time and size tell one version from another.
    """
    status = path.stat()
    return Part(
        size=status.st_size - offset if size is None else size,
        open=lambda: path.open("rb"),
        offset=offset,
        version=f"{status.st_mtime_ns}-{status.st_size}-{offset}",
    )


def in_memory(content: bytes) -> Part:
    """Bytes that are at hand."""
    return Part(len(content), partial(BytesIO, content), version=hashlib.sha256(content).hexdigest())


def made_when_read(size: int, make: Callable[[], bytes]) -> Part:
    """Bytes that follow from the other parts of the same download; of them, only the size is known before."""
    return Part(size, lambda: BytesIO(make()))


def total_size(parts: Iterable[Part]) -> int:
    """Bytes of all parts together."""
    return sum(part.size for part in parts)


def version(parts: Iterable[Part]) -> str:
    """The same for the same bytes, and another one for others."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.size} {part.version}\n".encode())
    return digest.hexdigest()[:32]


def read(parts: Sequence[Part], wanted: range) -> Iterator[bytes]:
    """The wanted bytes, counted over all parts, in pieces of about CHUNK_BYTES; OSError where a part has too few."""
    pieces, size = [], 0
    for piece in _pieces(parts, wanted):
        pieces.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _pieces(parts: Sequence[Part], wanted: range) -> Iterator[bytes]:
    begins = 0
    for part in parts:
        start, stop = max(wanted.start - begins, 0), min(wanted.stop - begins, part.size)
        begins += part.size
        if start >= stop:
            continue
        with part.open() as file:
            file.seek(part.offset + start)
            while start < stop:
                piece = file.read(min(stop - start, CHUNK_BYTES))
                if not piece:
                    raise OSError(f"{file} ended {stop - start} bytes before its time.")
                yield piece
                start += len(piece)
