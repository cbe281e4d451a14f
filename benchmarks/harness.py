"""What the benchmarks share: contenders that take turns, medians and their ratios, a table or one line of JSON."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NARROWEST = 140
"""Columns that a table may take where the terminal has fewer, or there is none."""

Turn = Callable[[], float]
"""Does one piece of work and returns the seconds it took."""


@dataclass(frozen=True)
class Row:
    """One contender's result. `times` is how many times as fast as the table's first row.

    `flops_per_second` counts the operations that the contender does, 2 for a multiplication with its addition;
    `of_limit` is what part it comes to of what is possible. Both are None where they are not known. A row that
    `is_limit` does nothing but operations, and has nothing to compare besides.
    """

    name: str
    seconds: float
    fastest: float
    slowest: float
    per_second: float
    times: float
    flops_per_second: float | None = None
    of_limit: float | None = None
    is_limit: bool = False


@dataclass(frozen=True)
class Column:
    """One more column of a table; empty for limits, unless `of_limits`."""

    title: str
    text: Callable[[Row], str]
    of_limits: bool = False

    def cell(self, row: Row) -> str:
        """What a row has in this column."""
        return self.text(row) if self.of_limits or not row.is_limit else ""


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


def beside_limits(rows: Sequence[Row], operations: Mapping[str, float], limits: Mapping[str, str]) -> list[Row]:
    """The rows with their rates of operations, and what part they are of the rate of another row, their limit.

    Args:
        rows: Limits among them; they do nothing but operations.
        operations: Of a turn, floating-point, by the name of a row, as far as they are known.
        limits: The name of the row that is the limit, by the name of each row whose operations are known and that is
            no limit itself.
    """
    rates = {row.name: operations[row.name] / row.seconds for row in rows if row.name in operations}
    parts = {name: rates[name] / rates[limit] for name, limit in limits.items() if {name, limit} <= rates.keys()}
    return [
        replace(
            row,
            flops_per_second=rates.get(row.name),
            of_limit=parts.get(row.name),
            is_limit=row.name in rates and row.name not in limits,
        )
        for row in rows
    ]


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")
    parser.add_argument("--full", action="store_true", help="more rounds and sizes; takes longer")
    parser.add_argument("--rounds", type=at_least(1), help="turns of each contender; by default a few, more by --full")
    return parser


def rounds_of(chosen: argparse.Namespace, usual: int, full: int) -> int:
    """How many turns each contender is to have, by the options."""
    return chosen.rounds or (full if chosen.full else usual)


def at_least(least: int) -> Callable[[str], int]:
    """Reads an option that is a whole number."""

    def read(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{number} is too few: give {least} or more")
        return number

    return read


class Report:
    """Shows tables and facts as they come; keeps them, too, for the line of JSON where that was asked for."""

    def __init__(self, benchmark: str, *, as_json: bool) -> None:
        self._console = Console(stderr=as_json)
        self._console.width = max(self._console.width, NARROWEST)
        self._as_json = as_json
        self._content: dict[str, Any] = {"benchmark": benchmark, "machine": machine(), "tables": {}, "facts": {}}

    def table(self, title: str, rows: Sequence[Row], unit: str, *more: Column) -> None:
        """Show a comparison; the first row is what the others are compared with."""
        self._content["tables"][title] = [asdict(row) for row in rows]
        columns = [
            Column("median s", lambda row: f"{row.seconds:.4g}", of_limits=True),
            Column("range s", lambda row: f"{row.fastest:.3g} to {row.slowest:.3g}", of_limits=True),
            Column(f"{unit}/s", lambda row: f"{row.per_second:.4g}"),
            Column("times", lambda row: f"{row.times:.2f}"),
        ]
        if rates := [row.flops_per_second for row in rows if row.flops_per_second is not None]:
            prefix, scale = ("T", 1e12) if max(rates) >= 1e12 else ("G", 1e9)
            columns.append(
                Column(f"{prefix}FLOP/s", lambda row: _known(row.flops_per_second, scale, "{:.4g}"), of_limits=True)
            )
        if any(row.of_limit is not None for row in rows):
            columns.append(Column("of limit", lambda row: _known(row.of_limit, 0.01, "{:.1f} %")))
        columns += more
        table = Table("", title=title, title_justify="left")
        for column in columns:
            table.add_column(column.title, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(row.name, *(column.cell(row) for column in columns))
        self._console.print(table)

    def listing(self, title: str, columns: Sequence[str], lines: Sequence[Sequence[str | float]]) -> None:
        """Show a table of another form; a float is shown with three digits."""
        self._content["tables"][title] = [dict(zip(columns, line, strict=True)) for line in lines]
        table = Table(*columns, title=title, title_justify="left")
        for line in lines:
            table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in line))
        self._console.print(table)

    def keep(self, name: str, value: object) -> None:
        """Add to the line of JSON alone."""
        self._content["facts"][name] = value

    def fact(self, name: str, value: object) -> None:
        """Show one number or text."""
        self.keep(name, value)
        self._console.print(f"{name}: {value}", highlight=False)

    def finish(self) -> None:
        """Print the line of JSON where that was asked for."""
        if self._as_json:
            print(json.dumps(self._content))


def _known(number: float | None, unit: float, form: str) -> str:
    return "" if number is None else form.format(number / unit)


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
