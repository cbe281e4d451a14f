"""Columns of the CSV files that come with collections, and of what spreadsheet programs make of these.

A byte order mark is skipped, and columns may be divided by commas, semicolons or tabs. What is not UTF-8, has too short
rows or open quotes, or is larger than any collection, is refused in a sentence.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

from worker.contract.errors import SourceUnreadable
from worker.sources.files import open_plain
from worker.sources.names import what_there_is

MAX_BYTES = 2**28
"""Of one file; a million rows of NIH's have 75 million."""
MAX_ROWS = 2_000_000
MAX_CHARACTERS = 10_000
"""Of one field."""
MAX_REPEATED = 10_000
"""Texts of a column that are kept once, however often they come: in most columns there are few."""
DELIMITERS = ",;\t"
LONGEST_TITLE_TOLD = 100
"""In characters, of the columns that a sentence lists."""

_ROWS_AT_ONCE = 1_000


def read_columns(
    path: Path, columns: Sequence[Sequence[str]], *, within: Path, named_by: Sequence[str] = ()
) -> list[list[str]]:
    """The texts of some columns of a table whose first line is its header.

    Args:
        path: the CSV file.
        columns: at least one; of each, the names it may go by.
        within: the folder that links may not lead out of.
        named_by: of each, where whoever keeps the table has named it; none if its publisher has.

    Raises:
        SourceUnreadable: there is no such column, or the table cannot be read.
    """
    texts: list[list[str]] = [[] for _ in columns]
    repeated: list[dict[str, str]] = [{} for _ in columns]
    try:
        with (
            open_plain(path, within=within, refusal=SourceUnreadable) as file,
            TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines,
        ):
            if (length := os.fstat(file.fileno()).st_size) > MAX_BYTES:
                raise SourceUnreadable(f"{path.name} has {length:,} bytes, above the limit of {MAX_BYTES:,}.")
            for rows in _rows(lines, columns, path.name, named_by):
                for column, known, more in zip(texts, repeated, zip(*rows, strict=True), strict=True):
                    column.extend(map(known.setdefault, more, more) if len(known) < MAX_REPEATED else more)
                _check_sizes(texts, len(rows), path.name)
    except UnicodeDecodeError as error:
        raise SourceUnreadable(f"{path.name} is not in UTF-8 ({error.reason}): save it so, or get it anew.") from error
    except csv.Error as error:
        raise SourceUnreadable(f"{path.name} is no sound CSV file ({error}): get it anew.") from error
    except OSError as error:
        raise SourceUnreadable(f"{path.name} cannot be read ({error.strerror}): let this user read it.") from error
    return texts


def _rows(
    lines: TextIOWrapper, columns: Sequence[Sequence[str]], name: str, named_by: Sequence[str]
) -> Iterator[list[tuple[str, ...]]]:
    """The chosen fields of each row, many rows at a time."""
    header = lines.readline()
    delimiter = max(DELIMITERS, key=lambda each: len(_places(_split(header, each), columns)))
    records = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    titles = next(records, [])
    places = _places(titles, columns)
    if missing := [column for column in range(len(columns)) if column not in places]:
        title = columns[missing[0]][0]
        whose = (
            f", which {named_by[missing[0]]} names" if named_by else ": put the file as it was published in its place"
        )
        known = (each.strip() for each in titles if len(each) <= LONGEST_TITLE_TOLD)
        raise SourceUnreadable(f"{name} has no column {title!r}{whose}. {what_there_is(title, known)}")
    chosen = _fields([places[column] for column in range(len(columns))])
    try:
        while rows := [chosen(record) for record in islice(filter(None, records), _ROWS_AT_ONCE)]:
            yield rows
    except IndexError as error:
        raise SourceUnreadable(f"{name} ends early in line {records.line_num}: get it anew.") from error


def _fields(places: Sequence[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Takes the fields at these places, which `itemgetter` does not put into a tuple if there is one alone."""
    if len(places) > 1:
        return itemgetter(*places)
    (place,) = places
    return lambda record: (record[place],)


def _split(header: str, delimiter: str) -> list[str]:
    return next(csv.reader([header], delimiter=delimiter), [])


def _places(header: Sequence[str], columns: Sequence[Sequence[str]]) -> dict[int, int]:
    """Where the columns are that there are."""
    place_of = {name.strip(): place for place, name in enumerate(header)}
    found = ((column, next((each for each in names if each in place_of), None)) for column, names in enumerate(columns))
    return {column: place_of[name] for column, name in found if name is not None}


def _check_sizes(texts: Sequence[Sequence[str]], new: int, name: str) -> None:
    if len(texts[0]) > MAX_ROWS:
        raise SourceUnreadable(f"{name} has more than {MAX_ROWS:,} rows: make several sources of it.")
    longest = max(max(map(len, column[-new:])) for column in texts)
    if longest > MAX_CHARACTERS:
        raise SourceUnreadable(f"{name} has a field of {longest:,} characters, above the limit of {MAX_CHARACTERS:,}.")
