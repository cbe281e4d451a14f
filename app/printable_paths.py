"""Refuses addresses that cannot be printed, before the door and the audit log judge a request by its address."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import response_to
from worker.contract.errors import NotFound


class PrintablePaths:
    """ASGI middleware: a path with a control character, such as a line feed, is a 404; no route means one.

    Patterns do not agree about a line feed at the end: `$`, by which Starlette's routes end, lets it pass, and `.` does
    not match it. So a route could be found that those who guard it have not recognised.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http" and not scope["path"].isprintable():
            answer = response_to(NotFound("There is no such address."))
        await answer(scope, receive, send)
