"""Contenders of the training benchmark, and other measurements, each in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from harness import Report

from worker.models.base import DEFAULT
from worker.models.dcgan_family import DcganFamily
from worker.models.registry import family

HERE = Path(__file__).parent
ENVIRONMENT = {
    "TF_ENABLE_ONEDNN_OPTS": "1",  # without it the 2018 loop takes more than twice as long
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # or the first contender would leave no memory to the others
}

Hardware = Literal["CPU", "GPU"]


class ProcessEnded(Exception):
    """A process ended before it had answered."""


@dataclass(frozen=True)
class Command:
    """How a contender is started: a module of `peers/` by an interpreter, in a variant, on a task as JSON."""

    interpreter: str
    module: str
    variant: str
    task: str


def task(name: str, batch_size: int, *, width: float = 1.0, devices: int = 1, hardware: Hardware = "CPU") -> str:
    """What every contender is to train, as JSON (see `peers/serving.py`): the networks of a DCGAN family of RaGAN."""
    kind = family(name)
    if not isinstance(kind, DcganFamily):
        raise TypeError(f"{name} is no DCGAN: the peers only know those, so take another family.")
    recipe = kind.configure(DEFAULT, {})

    def channels(reference: int) -> int:
        return max(1, round(reference * width))

    side, first = kind.start
    return json.dumps(
        {
            "family": name,
            "image_size": kind.image_size,
            "latent_size": kind.latent_size,
            "start": (side, channels(first)),
            "generator_blocks": [(channels(filters), factor) for filters, factor in kind.generator_blocks],
            "discriminator_blocks": [(channels(filters), factor) for filters, factor in kind.discriminator_blocks],
            "batch_size": batch_size,
            "learning_rate_d": recipe.learning_rate_d,
            "learning_rate_g": recipe.learning_rate_g,
            "threads": os.cpu_count(),
            "width": width,
            "devices": devices,
            "hardware": hardware,
        }
    )


class Peer:
    """A contender at work, warmed up; a context manager that ends its process.

    Raises:
        ProcessEnded: it could not begin, or ended in between; with what it wrote last.
    """

    def __init__(self, command: Command) -> None:
        interpreter = Path(command.interpreter).absolute()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        self._process = subprocess.Popen(
            [str(interpreter), "-m", f"peers.{command.module}", command.task, command.variant],
            cwd=HERE,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        try:
            self.greeting: dict[str, Any] = json.loads(self._answer())
        except ProcessEnded:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def steps(self, count: int) -> float:
        """Take so many steps; returns the seconds of one."""
        with suppress(BrokenPipeError):  # no answer will come then, either
            print(count, file=self._process.stdin, flush=True)
        return float(self._answer()) / count

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        code = self._process.wait()
        self._complaints.seek(0)
        raise ProcessEnded(_last_words(code, self._complaints.read().decode(errors="replace")))


@contextmanager
def at_work(commands: Mapping[str, Command], report: Report) -> Iterator[dict[str, Peer]]:
    """Contenders that train the same networks, by name; those that cannot begin are left out, and the report says so.

    Which networks a contender trains is told by the number of its parameters.
    """
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for name, command in commands.items():
            try:
                peers[name] = stack.enter_context(Peer(command))
            except ProcessEnded as error:
                report.fact(name, f"left out: {error}")
        if not peers:
            sys.exit("None of the contenders could begin, for the reasons above.")
        parameters = {name: peer.greeting["parameters"] for name, peer in peers.items()}
        if len(set(parameters.values()) - {None}) > 1:
            sys.exit(f"The contenders do not train the same networks; their parameters are {parameters}.")
        yield peers


def answer_of(script: str, *arguments: str) -> dict[str, Any]:
    """What a script beside this one prints as its last line, as JSON, run in a process of its own."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessEnded(f"{script} {' '.join(arguments)}: {_last_words(done.returncode, done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _last_words(code: int, written: str) -> str:
    last = written.strip().rpartition("\n")[2]
    return f"it ended early (exit code {code}), and wrote last: {last}"
