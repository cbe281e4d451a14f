"""The metrics of a training: a line of JSON per step, appended while it runs."""

import json
import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from worker.contract.store import write_atomically

FLUSH_SECONDS = 1.0
"""A reader is at most so far behind."""


class MetricsLog:
    """An open metrics.jsonl with exactly one row for each step so far.

    Rows are written in whole lines, many at a time, so that a reader never waits for one.
    """

    def __init__(self, path: Path, *, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the log of a training whose state is at `steps`; rows of later steps, from a run that died, go."""
        kept = _first_lines(path, steps)
        # A new file in its place: a process that worked on the training before may wake up, and still write to the old.
        write_atomically(path, b"".join(kept))
        self.last: dict[str, float] = json.loads(kept[-1]) if kept else {}
        """The newest row, empty before the first."""
        self._clock = clock
        self._pending: list[str] = []
        self._flushed_at = clock()
        self._file = path.open("ab")

    def append(self, row: Mapping[str, float]) -> None:
        """Add the row of the next step."""
        self.last = dict(row)
        self._pending.append(json.dumps(self.last) + "\n")
        if self._clock() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Let readers see every row so far."""
        self._file.write("".join(self._pending).encode())
        self._file.flush()
        self._pending.clear()
        self._flushed_at = self._clock()

    def sync(self) -> None:
        """Flush, and see to it that the rows outlive a crash of the machine."""
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush, and let go of the file."""
        try:
            self.flush()
        finally:
            self._file.close()


def _first_lines(path: Path, count: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return list(islice(file, count))
    except FileNotFoundError:
        return []
