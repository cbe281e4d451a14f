"""Which representation of a resource a client gets (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

import mimeparse

from worker.contract.errors import NotAcceptable

JSON = "application/json"
JSON_LINES = "application/x-ndjson"
CSV = "text/csv"
MARKDOWN = "text/markdown"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
ZIP = "application/zip"
NPZ = "application/x-npz"
PNG = "image/png"
SVG = "image/svg+xml"
GIF = "image/gif"


def choose(accept: str | None, offered: Sequence[str]) -> str:
    """The best of what is offered, the first where the client does not care; NotAcceptable if none will do."""
    if not accept:
        return offered[0]
    # mimeparse prefers the last of equals.
    try:
        chosen: str = mimeparse.best_match(list(reversed(offered)), accept)
    except mimeparse.MimeTypeParseException:
        chosen = ""
    if not chosen:
        raise NotAcceptable(f"This address has no {accept}: ask for {' or '.join(offered)} in the Accept header.")
    return chosen
