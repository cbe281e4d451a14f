"""Names that people mistype: findings, views, flags, sources."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from worker.contract.errors import FieldError, InvalidRequest

NAMES_TOLD = 20
"""Wrong names that a refusal lists: a request may hold a thousand."""
KNOWN_TOLD = 100
"""Names there are that a sentence lists: the findings of a large collection come in hundreds of combinations."""


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that there is not: it says what there is, the likeliest first."""
    return f"There is no {what} {name!r}. {what_there_is(name, known)}"


def what_there_is(name: str, known: Iterable[str]) -> str:
    """What a name that there is not may have been meant to be."""
    names = sorted(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    meant = f"Did you mean {by_folded[nearest[0]]!r}? " if nearest else ""
    told = ", ".join(names[:KNOWN_TOLD]) or "none at all"
    more = f" and {len(names) - KNOWN_TOLD} more" if len(names) > KNOWN_TOLD else ""
    return f"{meant}There is {told}{more}."


def wrong_names(pointer: str, what: str, names: Sequence[str], known: Collection[str]) -> Iterator[FieldError]:
    """An error for each name that there is not, at its place in the list that `pointer` leads to."""
    for index, name in enumerate(names):
        if name not in known:
            yield FieldError(pointer=f"{pointer}/{index}", detail=no_such(what, name, known))


def refuse(wrong: Iterable[FieldError]) -> None:
    """InvalidRequest with the first of some errors, unless there is none."""
    if errors := list(islice(wrong, NAMES_TOLD)):
        raise InvalidRequest(" ".join(error.detail for error in errors), errors=errors)
