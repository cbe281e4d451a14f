"""The door: who may come in, and who may change what is there.

Everything needs a key but what says whether the service is up, and what its documentation shows of the software.
"""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPMethod
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from app.errors import response_to
from app.keys import PREFIX, Key, Keyring, Scope
from app.services import Use
from worker.contract.errors import KeyRequired, NotAllowed, RaganError
from worker.contract.resources import RequestRecord

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
OPEN_FOLDERS = ("/problems/", "/static-offline-docs/")
"""A probe and a browser's address bar send no key. What they see tells of the service, not of what is in it."""
SAFE = frozenset({HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS})
"""Methods that change nothing: a key that may read may use them."""
SECURITY_SCHEME = "apiKey"
BLIND_PATH = re.compile(r"/v1/reader-studies/[^/]+/readers/.+")
"""What is below a reader of a study: the only addresses of a key with the scope `blind`, and of no other key.

Whoever may read can download the dataset that the real images of a study are from, and so find out which those are.
"""


class Policy(StrEnum):
    """Whether keys are asked for."""

    REQUIRED = "required"
    IF_THERE_IS_A_FILE = "if there is a file"
    """What suits a service that only this machine can reach: open until somebody makes a key."""
    SWITCHED_OFF = "switched off"


@dataclass(frozen=True)
class Caller:
    """Who asks; without a name where no key is needed."""

    name: str | None
    scope: Scope

    def check_may_change(self, record: RequestRecord) -> None:
        """NotAllowed if the resource is another key's."""
        self._check_owns(record, "change it")

    def check_may_unblind(self, record: RequestRecord) -> None:
        """NotAllowed if the reader study is another key's, whose results tell which image is which."""
        self._check_owns(record, "see its readers and its results")

    def _check_owns(self, record: RequestRecord, what: str) -> None:
        if self.scope is Scope.ADMIN or (self.name is not None and record.owner == self.name):
            return
        owner = f"by the key {record.owner!r}" if record.owner else "without a key"
        raise NotAllowed(f"{record.id} was made {owner}: only its maker or an admin can {what}.")


ANYBODY = Caller(None, Scope.ADMIN)
"""Who asks where no keys are."""
PASSER_BY = Caller(None, Scope.READ)
"""Who looks at what is open."""


def policy_for(host: str, insecure: bool) -> Policy:
    """What suits a front end that listens on this address; `insecure` is that somebody has said so."""
    if insecure:
        return Policy.SWITCHED_OFF
    return Policy.IF_THERE_IS_A_FILE if _is_loopback(host) else Policy.REQUIRED


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


class Door:
    """ASGI middleware: lets in who has a key of the right scope, before anything else of the request is looked at."""

    def __init__(self, app: ASGIApp, keyring: Keyring, policy: Policy) -> None:
        self._app = app
        self._keyring = keyring
        self._policy = policy

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["caller"] = self._let_in(scope)
            except RaganError as error:
                answer = response_to(error)
        await answer(scope, receive, send)

    def _let_in(self, scope: ASGIScope) -> Caller:
        if not self._is_locked():
            return ANYBODY
        if is_open(scope["path"]):
            return PASSER_BY
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise KeyRequired(
                f"This needs an API key: send the header `Authorization: Bearer {PREFIX}…`, as the command line does "
                "with the key in RAGAN_API_KEY. Whoever runs the service makes keys by `ragan keys create`."
            )
        key = self._keyring.find(secret.strip())
        if key is None:
            raise KeyRequired("This API key is not, or no longer, valid: ask whoever runs the service for another one.")
        needed = _needed_scope(scope["method"], scope["path"])
        if not key.scope.includes(needed):
            raise NotAllowed(_why_not(key, needed))
        return Caller(key.name, key.scope)

    def _is_locked(self) -> bool:
        # For good: a file that is lost while the service runs must not open the door.
        if self._policy is Policy.IF_THERE_IS_A_FILE and self._keyring.exists:
            self._policy = Policy.REQUIRED
        return self._policy is Policy.REQUIRED


def _needed_scope(method: str, path: str) -> Scope:
    if BLIND_PATH.fullmatch(path):
        return Scope.BLIND
    return Scope.READ if method in SAFE else Scope.SUBMIT


def _why_not(key: Key, needed: Scope) -> str:
    if needed is Scope.BLIND:
        return (
            f"The key {key.name!r} may see which images are real, and a reader must not: this takes a key with the "
            "scope blind, which whoever runs the service makes by `ragan keys create --scope blind`."
        )
    may = "see the images of reader studies" if key.scope is Scope.BLIND else key.scope
    return (
        f"The key {key.name!r} may only {may}, and this needs the scope {needed}: ask whoever runs the service for "
        "another key."
    )


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CalledBy = Annotated[Caller, Depends(_caller)]


async def only_its_owner_changes_it(use: Use, request: Request, caller: CalledBy) -> None:
    """A dependency of every route: what there is can be read by all, and changed by who made it or an admin."""
    resource_id = request.path_params.get("resource_id")
    if resource_id is not None and request.method not in SAFE:
        caller.check_may_change(await run_in_threadpool(use.store.read_request, resource_id))


def document(app: FastAPI) -> None:
    """Let the OpenAPI document tell of keys, and of what is answered without the right one."""
    describe = app.openapi

    def describe_with_keys() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_keys(describe())
        return describe()

    app.openapi = describe_with_keys  # type: ignore[method-assign]


def _add_keys(schema: dict[str, Any]) -> None:
    components = schema["components"]
    components["securitySchemes"] = {
        SECURITY_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key from `ragan keys create`. A service that only its own machine reaches may need none.",
        }
    }
    components["responses"] = {
        "KeyRequired": _problem("No API key, or a wrong one.", "WWW-Authenticate"),
        "NotAllowed": _problem("The API key lacks the scope, or the resource is another key's."),
        "QuotaUsedUp": _problem("A quota of the API key is used up, or the queue is full.", "Retry-After"),
    }
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if is_open(path):
                continue
            names = {"401": "KeyRequired", "403": "NotAllowed"}
            if method == "post" and not path.endswith(("/cancel", "/readers")):
                names["429"] = "QuotaUsedUp"
            operation["security"] = [{SECURITY_SCHEME: []}]
            for status, name in names.items():
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}


def _problem(description: str, *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: {"schema": {"type": "string"}} for name in headers},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
