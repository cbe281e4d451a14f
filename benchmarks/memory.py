"""What processes hold in memory: now, and watched while something runs."""

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_SECONDS = 0.02


def own_megabytes() -> float:
    """What the process holds beyond files that it maps: the page cache may take those back."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024 / 1e6


class Watch(ABC):
    """A context manager that looks again and again, by a thread, while a block runs."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None:
        """Note what there is to see now."""

    def _watch(self) -> None:
        while not self._over.wait(self._every_seconds):
            self.look()


class PeakMemory(Watch):
    """Watches what the process holds; `megabytes` is the most that was seen."""

    def __init__(self) -> None:
        super().__init__(SAMPLE_SECONDS)
        self.megabytes = own_megabytes()

    def look(self) -> None:
        self.megabytes = max(self.megabytes, own_megabytes())
