"""What the benchmarks share: contenders that take turns, medians and their ratios, a table or one line of JSON."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.table import Table

PEERS = Path(__file__).parent / "peers"
Turn = Callable[[], float]
"""Does one piece of work and returns the seconds it took."""


@dataclass(frozen=True)
class Row:
    """One contender's result. `times` is how many times as fast as the table's first row."""

    name: str
    seconds: float
    fastest: float
    slowest: float
    per_second: float
    times: float


def take_turns(contenders: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender, round by round, so that what slows the machine down slows down all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, turn in contenders.items():
            seconds[name].append(turn())
    return seconds


def timed(work: Callable[[], object]) -> Turn:
    """A turn that does some work once."""

    def turn() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return turn


def compare(seconds: Mapping[str, Sequence[float]], items: int) -> list[Row]:
    """Medians, rates for `items` done in each turn, and ratios of medians to the first contender."""
    first = statistics.median(next(iter(seconds.values())))
    return [
        Row(name, median, min(turns), max(turns), items / median, first / median)
        for name, turns in seconds.items()
        for median in [statistics.median(turns)]
    ]


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")
    parser.add_argument("--full", action="store_true", help="more rounds and sizes; takes longer")
    return parser


class Report:
    """Collects tables and notes, and prints them at the end in the form that was asked for."""

    def __init__(self, benchmark: str, *, as_json: bool) -> None:
        self._console = Console(stderr=as_json)
        self._as_json = as_json
        self._content: dict[str, Any] = {"benchmark": benchmark, "machine": machine(), "tables": {}, "facts": {}}

    def table(self, title: str, rows: Sequence[Row], unit: str) -> None:
        """Show a comparison; the first row is what the others are compared with."""
        self._content["tables"][title] = [asdict(row) for row in rows]
        table = Table("", "median s", "range s", f"{unit}/s", "times", title=title, title_justify="left")
        for row in rows:
            span = f"{row.fastest:.3g} to {row.slowest:.3g}"
            table.add_row(row.name, f"{row.seconds:.4g}", span, f"{row.per_second:.4g}", f"{row.times:.2f}")
        self._console.print(table)

    def show(self, table: Table) -> None:
        """Show a table of another form; its numbers go into facts."""
        self._console.print(table)

    def fact(self, name: str, value: object) -> None:
        """Show one number or text."""
        self._content["facts"][name] = value
        self._console.print(f"{name}: {value}")

    def finish(self) -> None:
        """Print the line of JSON, if that was asked for."""
        if self._as_json:
            print(json.dumps(self._content))


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    about = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {name.strip(): value.strip() for name, value in about.items()}
    flags = set(fields.get("flags", "").split())
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "instructions": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
    }


NATIVE_BFLOAT16 = bool({"avx512_bf16", "amx_bf16"} & set(machine()["instructions"]))
"""Whether this machine's CPU computes in bfloat16; it only stores it otherwise."""


class Peer:
    """A contender in a process of its own (see `peers/serving.py`); a context manager that ends it."""

    def __init__(self, interpreter: str, script: str, task: str, variant: str) -> None:
        self.name = f"{script} {variant}"
        self._process = subprocess.Popen(
            [interpreter, str(PEERS / script), task, variant],
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},  # without it the 2018 loop takes more than twice as long
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.greeting: dict[str, Any] = json.loads(self._answer())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def steps(self, count: int) -> float:
        """Take so many steps; returns the seconds."""
        print(count, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            sys.exit(f"{self.name} ended early (exit code {self._process.wait()}): run it by hand to see why.")
        return line
