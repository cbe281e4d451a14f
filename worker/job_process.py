"""The process of one job, seen from the worker that starts it. What runs in it is `worker.standby`."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

STANDARD_INPUT = 0


@dataclass(frozen=True)
class Assignment:
    """Which job to do: its id, that of this execution of it, its queue's name, and its worker's key in Redis."""

    worker: str
    queue: str
    job: str
    execution: str

    def to_line(self) -> bytes:
        """One line of JSON, short enough for a pipe to take it whole at once."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        return cls(**json.loads(line))


class JobProcess:
    """A process in waiting, which loads `modules` and then does the one job that it is assigned.

    It leads a process group of its own and ends when the process that started it does. Nothing is left of it once
    `ended` has told its exit code or `dismiss` was called; whoever waits for it by its `pid` has to `close` it, too.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        # Not `-m`: processes that the job starts by multiprocessing would load such a main module, too.
        command = [sys.executable, "-c", "from worker.standby import main; main()", *modules]
        to_read, to_write = os.pipe()
        self._pipe = os.fdopen(to_write, "wb", buffering=0)
        try:
            # SIGTERM: told to stop while it loads, it hears that when the job begins, which can then be handed back.
            self.pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, to_read, STANDARD_INPUT)],
                setpgroup=0,
                setsigmask=[signal.SIGTERM],
            )
        finally:
            os.close(to_read)

    def assign(self, assignment: Assignment) -> None:
        """Have it do a job, as soon as it has loaded its modules; BrokenPipeError if it has just died."""
        self._pipe.write(assignment.to_line())

    def ended(self) -> int | None:
        """The exit code if it has ended, negative for a signal's number; None while it lives."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.close()
        return os.waitstatus_to_exitcode(status)

    def dismiss(self) -> None:
        """End it now, whatever it is at."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.close()

    def close(self) -> None:
        """Let go of it: it ends by itself if it has not yet."""
        self._pipe.close()
