"""Whether the service is up, who works for it, and what its problems mean."""

from contextlib import suppress
from http import HTTPStatus
from importlib.metadata import version

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel
from redis.exceptions import RedisError

from app.devices import WorkerInfo, live_workers
from app.errors import error_classes, status_of
from app.routes.resources import OF_ANY_ADDRESS
from app.services import Use
from worker.contract.errors import NotFound, StoreUnavailable

router = APIRouter(tags=["system"])


class WorkerList(BaseModel):
    """Every live worker."""

    data: list[WorkerInfo]


class ProblemKind(BaseModel):
    """What a problem type means."""

    type: str
    title: str
    status: int


@router.get("/healthz", summary="Is the process up?")
def healthz() -> dict[str, str]:
    """Always 200 while the process answers."""
    return {"status": "ok"}


@router.get("/readyz", summary="Are Redis and the store reachable?")
def readyz(use: Use) -> JSONResponse:
    """200 if both are, else 503; each says in a sentence what is wrong with it."""
    checks = {"redis": "ok", "store": "ok"}
    try:
        use.redis.ping()
    except RedisError as error:
        checks["redis"] = f"Redis does not answer: {error}"
    try:
        use.store.check()
    except StoreUnavailable as error:
        checks["store"] = error.detail
    ready = all(answer == "ok" for answer in checks.values())
    return JSONResponse({"status": "ok" if ready else "unavailable", **checks}, status_code=200 if ready else 503)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
def read_metrics(use: Use) -> Response:
    """Queues, workers, jobs and the disk as they are now, and the requests to this front end, as text."""
    return Response(use.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/v1/workers", summary="List the live workers")
def list_workers(use: Use) -> WorkerList:
    """Name, queues, devices, current job and last heartbeat."""
    return WorkerList(data=sorted(live_workers(use.redis), key=lambda each: each.name))


@router.get("/v1/version", summary="Which version is this?")
def read_version() -> dict[str, str]:
    """The version of the service and of its HTTP contract."""
    return {"version": version("ragan"), "api": "v1"}


@router.get("/problems/{code}", summary="What a problem type means", responses=OF_ANY_ADDRESS)
def read_problem(code: str) -> ProblemKind:
    """The title and usual status of a problem type, which is a path below this one."""
    if error := error_classes().get(code):
        return ProblemKind(type=f"/problems/{code}", title=error.title(), status=status_of(error))
    with suppress(ValueError):  # not the number of a status
        status = HTTPStatus(int(code.removeprefix("http-")))
        return ProblemKind(type=f"/problems/http-{status}", title=status.phrase, status=status)
    raise NotFound(f"There is no problem type {code!r}.")
