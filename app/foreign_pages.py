"""Keeps web pages from using a service that asks nobody for a key, through a browser that reaches it.

Such a service trusts its machine, and a browser there runs the pages of anybody. Two things let them reach it: a page
whose own host name is led to 127.0.0.1 (DNS rebinding), which could read all there is, and a form or script that sends
here what it cannot read the answer to. A page has no key, so that a service with keys needs none of this.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access import ANYBODY, SAFE, Policy, policy_for
from app.errors import response_to
from worker.contract.errors import ForeignPage, RaganError, WrongHost

OWN_PAGE = frozenset({"same-origin", "none"})
"""What `Sec-Fetch-Site` says of our own pages, and of an address that somebody has typed."""


class ForeignPages:
    """ASGI middleware inside of the door: where that asks for no key, refuses what other sites' pages send.

    The host is checked of what arrives at a loopback address. By which names others reach a service that listens on
    more and was told `--insecure`, it cannot know.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http" and scope["state"]["caller"] is ANYBODY:
            try:
                _check(scope)
            except RaganError as error:
                answer = response_to(error)
        await answer(scope, receive, send)


def _check(scope: Scope) -> None:
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    address, _ = scope.get("server") or ("", None)
    if _is_this_machine(address) and not _is_this_machine(_name_of(host)):
        raise WrongHost(
            f"This service asks for no key, so that it answers to localhost and 127.0.0.1 alone, and not to {host!r}: "
            "ask for one of those (a proxy can set the header Host), or make a key by `ragan keys create`."
        )
    if scope["method"] not in SAFE and _is_foreign(headers, host):
        raise ForeignPage(
            "A web page of another site has sent this, and without keys only programs and this service's own pages may "
            "change something: use one of those, or make a key by `ragan keys create`."
        )


def _name_of(host: str) -> str:
    """The header without its port, and without the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return ""


def _is_this_machine(host: str) -> bool:
    """Whether nobody but this machine reaches a service that listens there."""
    return policy_for(host, insecure=False) is Policy.IF_THERE_IS_A_FILE


def _is_foreign(headers: Headers, host: str) -> bool:
    """What browsers say of where a request comes from; other programs say nothing."""
    if site := headers.get("sec-fetch-site"):
        return site not in OWN_PAGE
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()
