"""What a client would rather have, which it is told if it gets it, and never refused for (RFC 7240)."""

import re
from collections.abc import Iterable

# Splits at the commas that are not quoted, and undoes the escapes within quotes.
from urllib.request import parse_http_list

MAX_WAIT_SECONDS = 60

_SECONDS = re.compile(r'("?)([0-9]+)\1')


def wait_seconds(lines: Iterable[str]) -> int | None:
    """How long a client would wait for a job's end.

    Args:
        lines: the values of all its `Prefer` headers.

    Returns:
        The seconds of the first `wait`, MAX_WAIT_SECONDS where it asks for more; None without one that can be meant.
    """
    for preference in (each for line in lines for each in parse_http_list(line)):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = _SECONDS.fullmatch(value.strip())
            # As a float: an integer of thousands of digits is refused by Python.
            return int(min(float(seconds[2]), MAX_WAIT_SECONDS)) or None if seconds else None
    return None
