"""Names that people mistype: findings, views, flags, sources."""

import difflib
from collections.abc import Iterable


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that there is not: it says what there is, the likeliest first."""
    names = sorted(known)
    by_folded = {candidate.casefold(): candidate for candidate in names}
    nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    meant = f" Did you mean {by_folded[nearest[0]]!r}?" if nearest else ""
    return f"There is no {what} {name!r}.{meant} There is {', '.join(names) or 'none at all'}."
