"""From the texts of a column, one a row, to the numbers and names of a table."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import SourceUnreadable
from worker.sources.base import IMPOSSIBLE_AGE, SPLITS, UNKNOWN, UNKNOWN_AGE

MAX_LABELS = 64
"""Findings are bit sets of 64 bits."""
MAX_CODES = 256
PARTS: Mapping[str, int] = {
    **dict.fromkeys(("train", "training"), SPLITS.index("train")),
    **dict.fromkeys(("validation", "valid", "val", "dev"), SPLITS.index("validation")),
    **dict.fromkeys(("test", "testing"), SPLITS.index("test")),
}
"""What collections call the parts that they are divided into, in lower case, as indices into SPLITS."""

_AGE = re.compile(r"(\d{1,18})(?:\.\d*)?([YMWD]?)", re.IGNORECASE)
_UNITS_IN_A_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}


def values(texts: Sequence[str], value: Callable[[str], int], kind: type[np.integer[Any]]) -> NDArray[Any]:
    """The value of each text; metadata repeats a few texts many times, so each is looked at once."""
    value_of = {text: value(text) for text in set(texts)}
    return np.fromiter(map(value_of.__getitem__, texts), kind, len(texts))


def label_sets(findings: Sequence[str], told_by: str) -> tuple[NDArray[np.uint64], tuple[str, ...]]:
    """Bit sets of the findings that each text names, with `|` between them, and the names of all, sorted.

    SourceUnreadable, naming the file `told_by`, if there are more than MAX_LABELS.
    """
    lists = {text: [name for part in text.split("|") if (name := part.strip())] for text in set(findings)}
    names = sorted({name for found in lists.values() for name in found})
    if len(names) > MAX_LABELS:
        raise SourceUnreadable(f"{told_by} names {len(names)} findings, above the limit of {MAX_LABELS}.")
    bit_of = {name: 1 << bit for bit, name in enumerate(names)}
    return values(findings, lambda text: sum(bit_of[name] for name in set(lists[text])), np.uint64), tuple(names)


def codes(texts: Sequence[str], told_by: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The place of each text among the names there are, sorted, an empty one as UNKNOWN; and these names.

    SourceUnreadable, naming the file `told_by`, if there are more than MAX_CODES.
    """
    names = sorted({text.strip() or UNKNOWN for text in set(texts)})
    if len(names) > MAX_CODES:
        raise SourceUnreadable(f"{told_by} has {len(names)} kinds of view or sex, above the limit of {MAX_CODES}.")
    return values(texts, lambda text: names.index(text.strip() or UNKNOWN), np.uint8), tuple(names)


def years(age: str) -> int:
    """An age as collections write it: `58` and `058Y` are 58, `013M` is 1, `004D` is 0."""
    if not age.strip():
        return UNKNOWN_AGE
    match = _AGE.fullmatch(age.strip())
    if match is None:
        return IMPOSSIBLE_AGE
    return min(int(match[1]) // _UNITS_IN_A_YEAR[match[2].upper()], int(np.iinfo(np.int16).max))
