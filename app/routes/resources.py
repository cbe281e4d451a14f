"""What every kind of resource has: how it is made, and the routes to look, list, cancel, delete, and its events."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict
from redis.exceptions import RedisError

from app import events, media
from app.access import CalledBy
from app.errors import ProblemDetails, with_status
from app.idempotency import KeyedRequest
from app.preferences import MAX_WAIT_SECONDS, wait_seconds
from app.services import Services, Use
from worker.contract.errors import InvalidRequest, NotFound
from worker.contract.resources import Kind, Resource, Status

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "model": ProblemDetails, "content": {"application/problem+json": {}}}
    for status, text in {
        400: "The body could not be read.",
        404: "There is no such thing.",
        409: "It is not in a state that allows this.",
        413: "The body is too large.",
        416: "There is nothing in this range.",
        422: "The request asks for something impossible.",
        503: "Redis or the workers cannot be reached; try again.",
        507: "The disk has no room for it.",
    }.items()
}
OF_ANY_ADDRESS: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (404, 422)}
"""What is answered wherever a part of the address, or of its query, may be wrong."""
LINKS: dict[Kind, dict[str, str]] = {
    Kind.DATASET: {
        "contact_sheet": "contact-sheet.png",
        "classical_augmentation": "classical-augmentation.png",
        "items": "items.csv",
        "images": "images.npz",
    },
    Kind.TRAINING: {
        "resume": "resume",
        "metrics": "metrics",
        "snapshots": "snapshots",
        "time_lapse": "snapshots.gif",
        "checkpoints": "checkpoints",
    },
    Kind.GENERATION: {"images": "images"},
    Kind.EVALUATION: {
        "grid": "grid.png",
        "nearest": "nearest.png",
        "card": "card.html",
        "card_markdown": "card.md",
    },
    Kind.READER_STUDY: {
        "readers": "readers",
        "results": "results",
        "results_table": "results.csv",
    },
    Kind.STUDY: {
        "curve": "curve.png",
        "curve_svg": "curve.svg",
        "arms_table": "tables/arms.csv",
        "comparisons_table": "tables/comparisons.csv",
        "curve_table": "tables/curve.csv",
        "predictions_table": "tables/predictions.csv",
    },
}
"""What hangs below a kind of resource, beside what hangs below all of them."""


Requested = TypeVar("Requested", bound=BaseModel)
Foreseen = TypeVar("Foreseen", bound=BaseModel | None)


class DryRun(BaseModel, Generic[Requested, Foreseen]):
    """What a POST would do: the request with every default filled in, and the result as far as it is known."""

    dry_run: bool = True
    request: Requested
    result: Foreseen


_LOCATION = {"Location": {"description": "Where the resource is.", "schema": {"type": "string"}}}
_PREFERENCE_APPLIED = {
    "Preference-Applied": {
        "description": "`wait=N` if the answer waited for the job's end, N seconds at the most.",
        "schema": {"type": "string"},
    }
}
_SUBMITTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job has ended, however it ended: while the answer waited for it, or since it was first "
        "asked for with the same `Idempotency-Key`. Or a dry run.",
        "headers": _LOCATION | _PREFERENCE_APPLIED,
    },
    202: {"description": "The job is accepted.", "headers": _LOCATION | _PREFERENCE_APPLIED},
    **{status: PROBLEMS[status] for status in (400, 404, 409, 413, 422, 503, 507)},
}


def submitted(dry_run: type[DryRun[Any, Any]]) -> dict[int | str, dict[str, Any]]:
    """What a POST that makes a resource may answer, with what a dry run of it gives."""
    return _SUBMITTED | {200: _SUBMITTED[200] | {"model": Resource | dry_run}}


class Page(BaseModel):
    """Some of a collection, newest first."""

    model_config = ConfigDict(json_schema_extra={"description": "Pass `next` as `after` for the following page."})

    data: list[Resource]
    has_more: bool
    next: str | None


def present(resource: Resource) -> dict[str, Any]:
    """A resource as it is sent: with its links, and its error with a status."""
    base = f"/v1/{resource.kind.collection}/{resource.id}"
    below = {"events": "events", "cancel": "cancel"} | LINKS[resource.kind]
    links = {"self": base} | {name: f"{base}/{path}" for name, path in below.items()}
    error = with_status(resource.error) if resource.error else None
    return resource.model_copy(update={"links": links, "error": error}).model_dump(mode="json")


def accepted(resource: Resource) -> JSONResponse:
    """202: the job is queued, and where to look for it."""
    return _answer(resource, 202)


@dataclass(frozen=True)
class Patience:
    """For how many seconds a client would wait for the end of the job it asks for, and whether it has gone since."""

    seconds: int | None
    gone: Callable[[], Awaitable[bool]]


async def _patience(
    request: Request,
    prefer: Annotated[
        list[str] | None,
        Header(
            description=f"`wait=N` (RFC 7240): answer at the job's end, after N seconds (1-{MAX_WAIT_SECONDS}) if it "
            "has not come. Other preferences are ignored."
        ),
    ] = None,
) -> Patience:
    return Patience(wait_seconds(prefer or ()), request.is_disconnected)


Wait = Annotated[Patience, Depends(_patience)]


@dataclass(frozen=True)
class Sender:
    """Whose request it is, and the key that tells it from others if it is sent again."""

    owner: str | None
    idempotency_key: str | None

    def keyed(self, kind: Kind, request: BaseModel) -> KeyedRequest | None:
        """A request with its key, None without one."""
        if self.idempotency_key is None:
            return None
        return KeyedRequest.of(self.idempotency_key, kind, request, scope=self.owner or "")


async def _sender(
    caller: CalledBy,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="1 to 255 visible ASCII characters, such as a UUID. The same request with the same key makes "
            "nothing again, and is answered with what it has made. Ignored in a dry run."
        ),
    ] = None,
) -> Sender:
    return Sender(caller.name, idempotency_key)


SentBy = Annotated[Sender, Depends(_sender)]


async def submit(
    use: Services,
    kind: Kind,
    request: BaseModel,
    complete: Callable[[], BaseModel],
    *,
    patience: Patience,
    sender: Sender,
) -> JSONResponse:
    """Queue a job: 200 if it ends while the client would wait, or has ended since it was first asked for; else 202.

    `complete` checks the request and fills it in; it may ask whatever it likes, and is not called for what is there.
    """
    keyed = sender.keyed(kind, request)
    resource = await run_in_threadpool(use.jobs.submit, kind, complete, keyed=keyed, owner=sender.owner)
    if patience.seconds is None:
        return _answer(resource, 200 if keyed and resource.status.terminal else 202)
    try:
        await events.wait_for_end(
            resource.id, patience.seconds, abandoned=patience.gone, jobs=use.jobs, redis=use.streams
        )
        resource = await run_in_threadpool(use.jobs.get, resource.id)
    except (RedisError, NotFound, CancelledError):
        # Redis is gone, the resource was deleted, or the service is told to stop: the job is accepted all the same.
        return accepted(resource)
    response = _answer(resource, 200 if resource.status.terminal else 202)
    response.headers["Preference-Applied"] = f"wait={patience.seconds}"
    return response


def _answer(resource: Resource, status: int) -> JSONResponse:
    body = present(resource)
    return JSONResponse(body, status_code=status, headers={"Location": body["links"]["self"]})


def is_id(text: str, kind: Kind) -> bool:
    """Whether a text has the form of an id of this kind."""
    try:
        return Kind.of(text) is kind
    except NotFound:
        return False


def check_kind(resource_id: str, kind: Kind) -> None:
    """NotFound for an id of another kind: /trainings/ds_… is not a training."""
    if not is_id(resource_id, kind):
        raise NotFound(f"{resource_id} is not the id of a {kind.noun}: those begin with {kind.prefix}_.")


def resource_routes(kind: Kind) -> APIRouter:
    """The routes that are the same for every kind."""
    router = APIRouter(prefix=f"/v1/{kind.collection}", tags=[kind.collection], responses=OF_ANY_ADDRESS)

    @router.get("", summary=f"List {kind.collection}", response_model=Page)
    def list_resources(
        use: Use,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=200, description="How many at the most.")] = 50,
        after: Annotated[str | None, Query(description="The id that the last page ended with.")] = None,
        status: Annotated[Status | None, Query(description="Only those in this status.")] = None,
    ) -> Any:
        if after is not None and not is_id(after, kind):
            raise InvalidRequest.at("?after", f"{after!r} is not the id of a {kind.noun}: send the last page's `next`.")
        found, has_more = use.jobs.page(kind, limit=limit, after=after, status=status)
        following = found[-1].id if has_more else None
        if following:
            query = f"limit={limit}&after={following}" + (f"&status={status}" if status else "")
            response.headers["Link"] = f'</v1/{kind.collection}?{query}>; rel="next"'
        return {"data": [present(each) for each in found], "has_more": has_more, "next": following}

    @router.get("/{resource_id}", summary=f"Look at a {kind.noun}", response_model=Resource)
    def read_resource(use: Use, resource_id: str) -> Any:
        check_kind(resource_id, kind)
        # As it is: FastAPI would check it against the model in one more thread, and this is what is asked for most.
        return JSONResponse(present(use.jobs.get(resource_id)))

    @router.post(
        "/{resource_id}/cancel",
        summary=f"Cancel a {kind.noun}",
        status_code=202,
        response_model=Resource,
        responses={409: PROBLEMS[409]},
    )
    def cancel_resource(use: Use, resource_id: str) -> Any:
        check_kind(resource_id, kind)
        return present(use.jobs.cancel(resource_id))

    @router.delete(
        "/{resource_id}", summary=f"Delete a {kind.noun} and its files", status_code=204, responses={409: PROBLEMS[409]}
    )
    def delete_resource(
        use: Use,
        caller: CalledBy,
        resource_id: str,
        cascade: Annotated[bool, Query(description="Delete first what was made from it, and from that.")] = False,
    ) -> None:
        check_kind(resource_id, kind)
        use.jobs.delete(resource_id, cascade=cascade, allow=caller.check_may_change)

    @router.get(
        "/{resource_id}/events",
        summary="Watch its events, or list them",
        response_class=Response,
        responses={200: {"content": {media.JSON: {}, media.EVENT_STREAM: {}}}},
    )
    def read_events(
        use: Use,
        request: Request,
        resource_id: str,
        after: Annotated[str | None, Query(description="Only events after this one.")] = None,
        last_event_id: Annotated[
            str | None, Header(description="As `after`, sent by a client that reconnects.")
        ] = None,
    ) -> Response:
        check_kind(resource_id, kind)
        use.jobs.get(resource_id)  # before a stream begins, whose status could not be changed any more
        name, given = ("Last-Event-ID", last_event_id) if last_event_id else ("after", after)
        start = events.checked_event_id(given, name) if given else "0-0"
        representation = media.choose(request.headers.get("accept"), [media.JSON, media.EVENT_STREAM])
        if representation == media.JSON:
            return JSONResponse([asdict(each) for each in use.jobs.events(resource_id, start)])
        return StreamingResponse(
            events.stream(resource_id, start, jobs=use.jobs, redis=use.streams),
            media_type=media.EVENT_STREAM,
            # A proxy that buffers would hold back what is to be seen now (the second header is nginx's).
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router
