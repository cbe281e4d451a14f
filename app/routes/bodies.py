"""What is refused of every body, whatever its fields: values that JSON cannot be written from again, and too many."""

import sys
from typing import Any

from fastapi import Request

from worker.contract.errors import InvalidRequest

MAX_VALUES = 1_000
"""Of one body, keys not counted. A filter over all that a source can hold has some hundreds."""

_Path = tuple[str | int, ...]


async def check_body(request: Request) -> None:
    """A dependency of the routes that take a body, asked before the fields are looked at.

    InvalidRequest for a number that is not finite, a text that is not Unicode, or more than MAX_VALUES values.
    """
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return  # there is none, or it is not JSON, and is refused for that
    waiting: list[tuple[_Path, Any]] = [((), body)]
    seen = 0
    while waiting:
        path, value = waiting.pop()
        seen += 1
        _check_value(path, value)
        parts = value if isinstance(value, list | dict) else ()
        if seen + len(waiting) + len(parts) > MAX_VALUES:
            raise _refusal((), f"has more than {MAX_VALUES:,} values, and no request needs as many: shorten its lists")
        for name, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            below = (*path, name)
            _check_value(below, name)
            waiting.append((below, part))


def _check_value(path: _Path, value: Any) -> None:
    if isinstance(value, str):
        if not _is_unicode(value):
            raise _refusal(path, "holds half of a surrogate pair, which is no character: leave it out")
    # Python reads NaN and Infinity, makes infinity of 1e400, and its integers have no end. NaN is not <= anything.
    elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise _refusal(path, "is not a number that a float can hold: send a finite one")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(path: _Path, sentence: str) -> InvalidRequest:
    place = "/".join(map(str, path)).encode(errors="backslashreplace").decode()
    return InvalidRequest.at(f"#/{place}", f"{place or 'The body'} {sentence}.")
