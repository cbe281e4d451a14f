"""Keeps a set of child processes running: starts them, starts them again if they die, stops them in order."""

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worker.contract.processes import dying_with_parent

RESTART_DELAYS = (0.5, 1.0, 2.0, 5.0, 15.0)
"""Seconds before each restart of a process that keeps dying; the last for all that follow."""
STEADY_SECONDS = 60.0
"""A process that lived so long is forgiven its earlier deaths."""

log = logging.getLogger("ragan.up")


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    deaths: int = field(default=0)


class Supervisor:
    """A handful of processes with one environment; `output` is where they write, the parent's stderr if None."""

    def __init__(self, environment: Mapping[str, str], output: Path | None = None) -> None:
        self._environment = {**os.environ, **environment}
        self._output = output
        self._children: list[_Child] = []

    def add(self, name: str, command: Sequence[str]) -> None:
        """Start a process and keep it running."""
        child = _Child(name, command)
        self._children.append(child)
        self._start(child)

    def tend(self) -> None:
        """Start again what has died, each time after a longer pause. To be called now and then."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and (code := child.process.poll()) is not None:
                child.deaths = 0 if now - child.started_at > STEADY_SECONDS else child.deaths
                delay = RESTART_DELAYS[min(child.deaths, len(RESTART_DELAYS) - 1)]
                child.deaths += 1
                child.restart_at = now + delay
                child.process = None
                log.warning("%s ended with code %s; it is started again in %.1f s", child.name, code, delay)
            elif child.process is None and now >= child.restart_at:
                self._start(child)

    def alive(self, name: str) -> bool:
        """Whether a process is running right now."""
        return any(child.name == name and child.process and child.process.poll() is None for child in self._children)

    def stop(self, patience_seconds: float) -> None:
        """Ask all to stop, wait, and kill what is left."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + patience_seconds
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start(self, child: _Child) -> None:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._output.open("ab")) if self._output else None
            child.process = subprocess.Popen(
                dying_with_parent(*child.command),
                env=self._environment,
                # Ctrl-C reaches a whole session: only the supervisor shall hear it, and stop the others in order.
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output or sys.stderr.fileno(),
                stderr=output or sys.stderr.fileno(),
            )
        child.started_at = time.monotonic()
