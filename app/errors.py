"""Which HTTP status answers which error, and the one shape in which every error leaves: RFC 9457 problem+json."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from app.request_ids import HEADER, REQUEST_ID
from app.security_headers import SECURITY_HEADERS
from worker.contract import errors
from worker.contract.errors import FieldError, Problem, RaganError

STATUS: Mapping[type[RaganError], int] = {
    errors.MalformedRequest: 400,
    errors.KeyRequired: 401,
    errors.NotAllowed: 403,
    errors.ForeignPage: 403,
    errors.NotFound: 404,
    errors.CheckpointMissing: 404,
    errors.NotAcceptable: 406,
    errors.WrongState: 409,
    errors.InUse: 409,
    errors.RangeNotSatisfiable: 416,
    errors.WrongHost: 421,
    errors.InvalidRequest: 422,
    errors.SourceUnreadable: 422,
    errors.NoUsableImages: 422,
    errors.DevicesUnavailable: 422,
    errors.QuotaUsedUp: 429,
    errors.QueueFull: 429,
    errors.QueueUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.FamiliesUnpublished: 503,
    errors.DiskFull: 507,
}
"""By class; a subclass answers as its parent does, and whatever is not here is a 500."""
RETRY_AFTER_SECONDS = 5
LATER_SECONDS: Mapping[type[RaganError], int] = {
    errors.QueueFull: 30,
    errors.QuotaUsedUp: 60,
    errors.AboveQuota: 3600,  # not before an administrator has raised the quota
}
"""When it makes sense to try again, where RETRY_AFTER_SECONDS is too soon."""
LISTED_FIELDS = 20
"""Wrong fields of a body that an answer names; the sentence counts them all."""

log = logging.getLogger("ragan.api")


class ProblemDetails(Problem):
    """RFC 9457 problem details."""

    status: int = Field(description="The HTTP status, or the one that fits the error of a job.")


def status_of(error: type[RaganError]) -> int:
    """The HTTP status of an error class."""
    return next((STATUS[parent] for parent in error.__mro__ if parent in STATUS), 500)


def error_classes() -> dict[str, type[RaganError]]:
    """Every kind of problem by its code, the last part of its type."""
    found = [RaganError]
    for error in found:
        found += error.__subclasses__()
    return {error.code(): error for error in found}


def with_status(problem: Mapping[str, Any]) -> dict[str, Any]:
    """A stored problem as it is sent: a job's error gets the status that its kind would have had."""
    error = error_classes().get(str(problem["type"]).rpartition("/")[2], RaganError)
    return {**problem, "status": status_of(error)}


def install(app: FastAPI) -> None:
    """Let every error of the application, and of the framework, leave as a problem."""
    app.add_exception_handler(RaganError, _ragan_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RedisError, _redis_error)
    app.add_exception_handler(Exception, _unexpected_error)


def respond(problem: Problem, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem as a response."""
    sent = dict(headers or {})
    if status in (429, 503):
        sent.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    body = ProblemDetails(**problem.model_dump(), status=status)
    return JSONResponse(
        body.model_dump(mode="json"), status_code=status, headers=sent, media_type="application/problem+json"
    )


def response_to(error: RaganError) -> JSONResponse:
    """An error as a response, with what its status needs beside the problem."""
    status = status_of(type(error))
    if status == 500:
        log.error("%s: %s", error.code(), error.detail)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if later := LATER_SECONDS.get(type(error)):
        headers["Retry-After"] = str(later)
    return respond(error.problem(), status, headers)


def _ragan_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RaganError):
        raise error
    return response_to(error)


def _redis_error(_request: Request, error: Exception) -> JSONResponse:
    log.error("redis: %s", error)
    unavailable = errors.QueueUnavailable(
        "Redis does not answer, so nothing can be queued or watched right now; finished results are still served. "
        "Try again in a few seconds."
    )
    return respond(unavailable.problem(), 503)


def _http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    sentences = {
        404: "There is nothing at this address; /docs lists what there is.",
        405: "This address does not take this method; /docs lists which it takes.",
        413: "The request is too large: a request to RaGAN is at most 1 MiB of JSON.",
    }
    title = str(error.detail)
    problem = Problem(
        type=f"/problems/http-{error.status_code}", title=title, detail=sentences.get(error.status_code, title)
    )
    return respond(problem, error.status_code, error.headers)


def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    unexpected = errors.InternalError("RaGAN met an error nobody foresaw; the log of the service has the details.")
    # Middleware has been left by now, so its headers are added here.
    return respond(unexpected.problem(), 500, {**SECURITY_HEADERS, HEADER: REQUEST_ID.get() or ""})


def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return respond(
            errors.MalformedRequest("The body is not valid JSON: check its quotes, commas and brackets.").problem(), 400
        )
    if isinstance(error.body, bytes):
        sentence = "The body was not read: send JSON, and say so with the header Content-Type: application/json."
        return respond(errors.MalformedRequest(sentence).problem(), 400)
    fields = _field_errors(found, error.body)
    first, listed = fields[0], fields[:LISTED_FIELDS]
    more = f" ({len(fields) - 1} more; errors lists the first {len(listed)})" if len(fields) > 1 else ""
    detail = f"{first.pointer.removeprefix('#/') or 'The body'}: {first.detail}{more}"
    return respond(errors.InvalidRequest(detail, errors=listed).problem(), 422)


def _field_errors(found: Sequence[Mapping[str, Any]], body: Any) -> list[FieldError]:
    """One error per field: where a value may be one of several types, what each would have liked, together."""
    by_pointer: dict[str, list[str]] = {}
    for each in found:
        sentences = by_pointer.setdefault(_pointer(each["loc"], body, missing=each["type"] == "missing"), [])
        if (sentence := _sentence(each)) not in sentences:
            sentences.append(sentence)
    return [FieldError(pointer=pointer, detail="; or ".join(said)) for pointer, said in by_pointer.items()]


def _pointer(location: Sequence[str | int], body: Any, *, missing: bool) -> str:
    """Where in the body, as a JSON pointer; pydantic adds the names of tried types, which are no part of it.

    What is `missing` is named last, though it is not there.
    """
    place, *path = location
    if place != "body":
        return f"?{path[0]}" if place == "query" else f"{place}: {path[0]}"
    pointer, here = "#", body
    for number, part in enumerate(path, start=1):
        if not isinstance(here, Mapping | list):
            break
        if isinstance(here, Mapping) and part not in here and not (missing and number == len(path)):
            continue
        pointer += f"/{part}"
        if isinstance(here, Mapping):
            here = here.get(part)
        else:
            here = here[part] if isinstance(part, int) and part < len(here) else None
    return pointer if pointer != "#" else "#/"


def _sentence(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such field; /docs shows the fields there are"
    if error["type"] == "missing":
        return "is required"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]
