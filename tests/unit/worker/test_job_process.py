"""How a worker holds a process: what that process is protected from, and how it is let go without a trace."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.job_process import Assignment, JobProcess


@pytest.fixture
def process() -> Iterator[JobProcess]:
    started = JobProcess([])
    yield started
    started.close()


def test_an_assignment_is_one_line_that_any_pipe_takes_whole() -> None:
    assignment = Assignment(worker=f"rq:worker:{'w' * 80}", queue="train", job="j" * 40, execution="e" * 32)
    line = assignment.to_line()
    assert line.index(b"\n") == len(line) - 1 < 512
    assert Assignment.from_line(line) == assignment


def test_signals_to_the_worker_alone_or_to_its_group_do_not_reach_a_process_that_waits(process: JobProcess) -> None:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (blocked,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk:"))
    assert blocked == 1 << (signal.SIGTERM - 1)
    assert os.getpgid(process.pid) == process.pid
    process.dismiss()


def test_a_process_that_is_let_go_ends_by_itself(process: JobProcess) -> None:
    assert process.ended() is None
    process.close()
    assert os.waitpid(process.pid, 0) == (process.pid, 0)


def test_of_a_dismissed_process_nothing_is_left(process: JobProcess) -> None:
    process.dismiss()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_to_assign_to_a_dead_process_is_an_error(process: JobProcess) -> None:
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    with pytest.raises(BrokenPipeError):
        process.assign(Assignment(worker="any", queue="train", job="any", execution="any"))
