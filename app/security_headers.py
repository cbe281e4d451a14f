"""Headers that keep a browser from making more of an answer than what it is."""

import base64
import hashlib
import re
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "Content-Security-Policy"
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Without a key, any page in a browser on the service's own machine could else show what is here.
    "Cross-Origin-Resource-Policy": "same-origin",
    POLICY: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Of every answer; a page has a policy of its own, from the route that sends it, or else made here."""

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class SecurityHeaders:
    """ASGI middleware: adds the headers. What no one has given a version must not be kept by any cache."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: Message | None = None

        async def protected(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                has_policy = POLICY in headers
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if "etag" not in headers:
                    headers.setdefault("Cache-Control", "no-store")
                if not has_policy and headers.get("content-type", "").startswith("text/html"):
                    held = message  # until the body is there, which its policy depends on
                    return
            elif held is not None:
                MutableHeaders(scope=held)[POLICY] = _page_policy(message.get("body", b""))
                start, held = held, None
                await send(start)
            await send(message)

        await self._app(scope, receive, protected)


def _page_policy(page: bytes) -> str:
    """Let a page of ours, which is sent in one piece, run the scripts that are in it or beside it, and no others."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    scripts = " ".join(["'self'", *(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
