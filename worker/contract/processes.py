"""Processes that must not outlive the one that started them.

    python -m worker.contract.processes PROGRAM ARGUMENT …

runs a program that is told to end (SIGTERM) when its parent dies, however that happens.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies; kept through an exec (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)


def dying_with_parent(*command: str | os.PathLike[str]) -> list[str]:
    """A command that runs another one as the module describes.

    Not subprocess's preexec_fn, which may deadlock in a parent that has threads.
    """
    return [sys.executable, "-m", __name__, *(os.fspath(part) for part in command)]


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command of whoever called this
