"""How artefacts are sent: whole, in part, or not at all where the client has them (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response, StreamingResponse

from app import parts
from app.errors import respond
from app.parts import Part
from app.routes.resources import PROBLEMS
from worker.contract.errors import RangeNotSatisfiable

_ETAG = {"ETag": {"description": "Names these very bytes.", "schema": {"type": "string"}}}
_ACCEPT_RANGES = {"Accept-Ranges": {"description": "`bytes`.", "schema": {"type": "string"}}}
_CONTENT_RANGE = {
    "Content-Range": {
        "description": "`bytes first-last/all`; `bytes */all` where none could be sent.",
        "schema": {"type": "string"},
    }
}

_ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_ENTITY_TAG = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Conditions:
    """What of an artefact a client wants, and what of it it has."""

    method: str
    wanted: str | None
    if_range: str | None
    if_none_match: str | None

    def known(self, etag: str) -> bool:
        """Whether the client has this version already."""
        known = self.if_none_match or ""
        return known.strip() == "*" or etag in _ENTITY_TAG.findall(known)

    def stretch(self, etag: str, size: int) -> range | None:
        """The bytes that are wanted, none if there are no such; None for all of them."""
        if self.method != "GET" or not self.wanted or self.if_range not in (None, etag):
            return None
        found = _ONE_RANGE.fullmatch(self.wanted.strip())
        first, last = found.groups() if found else ("", "")
        if first:
            # A range that ends before it begins is none.
            return None if last and int(last) < int(first) else range(int(first), min(int(last or size) + 1, size))
        return range(max(size - int(last), 0), size) if last else None


async def _conditions(
    request: Request,
    wanted: Annotated[
        str | None,
        Header(alias="Range", description="`bytes=0-1048575`, `bytes=1048576-` or `bytes=-1024`: send only these."),
    ] = None,
    if_range: Annotated[
        str | None, Header(description="An ETag: obey `Range` only if it is still this version, else send all.")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="ETags: send nothing if it is still one of these versions.")
    ] = None,
) -> Conditions:
    return Conditions(request.method, wanted, if_range, if_none_match)


Asked = Annotated[Conditions, Depends(_conditions)]


def responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of the answers of `send`."""
    content: dict[str, dict[str, Any]] = {media_type: {} for media_type in media_types}
    return {
        200: {"content": content, "headers": _ETAG | _ACCEPT_RANGES},
        206: {
            "description": "The range that was asked for.",
            "content": content,
            "headers": _ETAG | _ACCEPT_RANGES | _CONTENT_RANGE,
        },
        304: {"description": "The client has it already.", "headers": _ETAG},
        416: PROBLEMS[416] | {"headers": _CONTENT_RANGE},
    }


def send(
    asked: Conditions,
    content: Sequence[Part],
    media_type: str,
    *,
    file_name: str | None = None,
    varies: bool = False,
) -> Response:
    """What the client lacks: all of it, one range of it (206), or nothing (304); 416 for a range outside of it.

    Several ranges, and what is no range of bytes, are answered with all of it, as the RFC allows.

    Args:
        asked: what the client wants and has.
        content: the artefact.
        media_type: of the artefact.
        file_name: under which a browser saves it, instead of showing it.
        varies: whether the address has other representations.
    """
    size, etag = parts.total_size(content), f'"{parts.version(content)}"'
    # It may be kept, but by the client alone, and is asked for again each time: it may be deleted.
    sent = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if file_name is not None:
        sent["Content-Disposition"] = f'attachment; filename="{file_name}"'
    if varies:
        sent["Vary"] = "Accept"
    if asked.known(etag):
        return Response(status_code=304, headers=sent)
    stretch = asked.stretch(etag, size)
    if stretch is not None and not stretch:
        outside = RangeNotSatisfiable(f"There are {size} bytes: ask for a range that begins before their end.")
        return respond(outside.problem(), 416, {"Content-Range": f"bytes */{size}"})
    if stretch is not None:
        sent["Content-Range"] = f"bytes {stretch.start}-{stretch.stop - 1}/{size}"
    body = range(size) if stretch is None else stretch
    sent["Content-Length"] = str(len(body))
    if asked.method == "HEAD":
        return Response(headers=sent, media_type=media_type)
    return StreamingResponse(
        parts.read(content, body), status_code=200 if stretch is None else 206, headers=sent, media_type=media_type
    )
