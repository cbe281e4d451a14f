"""Who has made, changed, deleted and downloaded what: one line of JSON each, to the logger `ragan.audit`."""

import json
import logging
import re
from collections.abc import Callable
from datetime import datetime

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.request_ids import REQUEST_ID
from worker.contract.live import utc_now
from worker.contract.resources import Kind, rfc3339

LOGGER = "ragan.audit"

_PATH = re.compile(rf"/v1/(?:{'|'.join(kind.collection for kind in Kind)})(?:/(?P<resource>[^/]+)(?:/(?P<below>.+))?)?")
_ARTEFACT = re.compile(r"images|results|.+\.(?:png|svg|gif|csv|npz|md|html)")
"""What of a resource is images, or tells of patients, or ends a blind reading: metrics and lists of steps do not."""

_POSTED = {"cancel": "cancel", "resume": "resume", "readers": "enrol"}
"""What a POST below a resource does."""

log = logging.getLogger(LOGGER)


class Audit:
    """ASGI middleware: writes down each create, cancel, resume, delete, enrol, answer and download, refused too.

    A dry run, which makes nothing, is not written down.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], datetime] = utc_now) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        action = _action(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if action is None:
            await self._app(scope, receive, send)
            return
        status, location = 500, ""

        async def observed(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status, location = message["status"], Headers(raw=message["headers"]).get("location", "")
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            if not (action == "create" and status == 200 and not location):
                self._write(scope, action, status, location)

    def _write(self, scope: Scope, action: str, status: int, location: str) -> None:
        match = _PATH.fullmatch(scope["path"])
        caller = scope.get("state", {}).get("caller")
        line = {
            "time": rfc3339(self._clock()),
            "logger": LOGGER,
            "action": action,
            "key": caller.name if caller else None,
            "method": scope["method"],
            "path": scope["path"],
            "resource": (match and match["resource"]) or location.rpartition("/")[2] or None,
            "status": status,
            "client": scope["client"][0] if scope.get("client") else None,
            "request_id": REQUEST_ID.get(),
        }
        log.info("%s", json.dumps(line))


def _action(method: str, path: str) -> str | None:
    """What a request is about to do, None if it is nothing to be written down."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    resource, below = match["resource"], match["below"]
    if method == "POST" and resource is None:
        return "create"
    if method == "POST":
        return _POSTED.get(below)
    if method == "PUT" and below:
        return "answer"
    if method == "DELETE" and resource and below is None:
        return "delete"
    return "download" if method == "GET" and below and _ARTEFACT.fullmatch(below) else None
