"""What a stage may know of the job it works for: where to write, whom to tell, and whether to stop."""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from worker.contract.resources import Progress
from worker.contract.settings import Settings
from worker.contract.space import check_room
from worker.contract.store import Store

REPORT_SECONDS = 0.5
"""Shortest time between two reports; a stage may call `progress` as often as it likes."""
RATE_WINDOW_SECONDS = 10.0
"""The rate is over so many of the last seconds, so that it follows a machine that slows down."""


class Reporter(Protocol):
    """Where a context's reports go: Redis in a worker, a list in a test."""

    def report(self, progress: Progress) -> None: ...

    def emit(self, kind: str, data: dict[str, Any]) -> None: ...

    def should_stop(self) -> bool: ...

    def canceled(self) -> bool: ...


class StopRequested(Exception):
    """Raised by a stage that was told to stop, with the result so far if there is one worth keeping."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        super().__init__("the job was told to stop")


class JobContext:
    """One attempt at one job. `scratch` is a folder of its own that is gone afterwards."""

    def __init__(
        self,
        *,
        resource_id: str,
        store: Store,
        scratch: Path,
        settings: Settings,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resource_id = resource_id
        self.store = store
        self.scratch = scratch
        self.settings = settings
        self.log = logging.getLogger("ragan.job").getChild(resource_id)
        self.last_progress: Progress | None = None
        self.needed_bytes = 0
        """What the job takes in the store, as far as it is known."""
        self._reporter = reporter
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._phase = ""
        self._reported_at = float("-inf")

    def need_room(self, needed: int) -> None:
        """Note how many bytes the job will write to the store; DiskFull if they are not free."""
        self.needed_bytes = needed
        check_room(self.store.root, needed)

    def progress(self, phase: str, done: int, total: int | None, unit: str) -> None:
        """Tell how far the job is; reported at the start and the end of a phase and now and then between."""
        now = self._clock()
        if phase != self._phase:
            self._phase = phase
            self._seen.clear()
            self._reported_at = float("-inf")
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_WINDOW_SECONDS:
            self._seen.popleft()
        if done != total and now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        rate = self._rate()
        left = None if total is None else total - done
        self.last_progress = Progress(
            phase=phase,
            done=done,
            total=total,
            unit=unit,
            percent=round(100 * done / total, 1) if total else None,
            rate=round(rate, 2) if rate is not None else None,
            eta_seconds=round(left / rate) if rate and left is not None else None,
        )
        self._reporter.report(self.last_progress)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Append an event of type `metrics`, `snapshot`, `checkpoint` or `log` to the job's stream."""
        self._reporter.emit(kind, data)

    def note(self, message: str) -> None:
        """Tell in a sentence what happened: in the log, and to whoever watches the job."""
        self.log.info(message)
        self.emit("log", {"message": message})

    def should_stop(self) -> bool:
        """Whether to stop at the next safe point; cheap enough to ask every step."""
        return self._reporter.should_stop()

    def canceled(self) -> bool:
        """Whether it is told to stop for good, so that what there is will be all; else another attempt goes on."""
        return self._reporter.canceled()

    def _rate(self) -> float | None:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else None
