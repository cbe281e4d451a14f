"""Trainings: a run of a family on a dataset, to be watched while it learns."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app import media
from app.classes import complete_classes
from app.devices import check_devices
from app.forecast import forecast
from app.parts import in_file, in_memory
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, accepted, check_kind, submit, submitted
from app.services import Services, Use
from worker.contract.checkpoints import latest, list_checkpoints
from worker.contract.compared_part import part_to_compare_with
from worker.contract.errors import InvalidRequest, NotFound
from worker.contract.requests import ResumeRequest, TrainingRequest
from worker.contract.resources import Kind, Resource
from worker.contract.results import CheckpointInfo, SnapshotInfo, TrainingForecast
from worker.contract.snapshots import SNAPSHOT_STEPS, snapshot_name, snapshot_steps
from worker.contract.space import check_room
from worker.sources.cells import plain_cell
from worker.sources.pixels import PngFile, encode_gif

TIME_LAPSE_FRAMES = 120
"""More frames than this are thinned evenly, so that the picture stays small enough to send to a colleague."""
TIME_LAPSE_MILLISECONDS = 80

router = APIRouter(
    prefix="/v1/trainings", tags=["trainings"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)


class TrainingDryRun(DryRun[TrainingRequest, TrainingForecast]):
    """What a training would take."""


@router.post(
    "",
    status_code=202,
    summary="Train a family on a dataset",
    response_model=Resource,
    responses=submitted(TrainingDryRun),
)
async def create_training(
    use: Use,
    request: TrainingRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only say what it would take.")] = False,
) -> Any:
    """Queue a training; its hyper-parameters are checked against the family's schema and filled in."""
    if dry_run:
        complete = await run_in_threadpool(_complete, use, request)
        expected = await forecast(complete, TrainingForecast, redis=use.redis, streams=use.streams)
        body = TrainingDryRun(request=complete, result=expected)
        return JSONResponse(body.model_dump(mode="json"))
    completing = partial(_complete, use, request)
    return await submit(use, Kind.TRAINING, request, completing, patience=patience, sender=sender)


@router.post(
    "/{resource_id}/resume",
    status_code=202,
    summary="Carry a training further",
    response_model=Resource,
    responses={status: PROBLEMS[status] for status in (400, 409, 413, 422, 503, 507)},
)
def resume_training(use: Use, resource_id: str, request: ResumeRequest | None = None) -> Any:
    """Go on from the newest checkpoint of a training that has ended, to the same or a new total of steps."""
    check_kind(resource_id, Kind.TRAINING)
    steps = request.steps if request else None

    def extend(old: dict[str, Any]) -> dict[str, Any]:
        newest = latest(use.store.folder(resource_id))
        done = newest.step if newest else 0
        total = steps or old["steps"]
        if total <= done:
            raise InvalidRequest.at(
                "#/steps", f"{resource_id} has already done {done} steps: resume it with `steps` above {done}."
            )
        if newest:
            check_room(use.store.root, newest.bytes)
        return old | {"steps": total}

    return accepted(use.jobs.resume(resource_id, extend))


@router.get(
    "/{resource_id}/metrics",
    summary="Losses and accuracies, a row per step",
    response_class=StreamingResponse,
    responses={
        200: {"content": {media.JSON_LINES: {}, media.CSV: {}}},
        406: {"description": "No such representation."},
    },
)
def read_metrics(
    use: Use,
    request: Request,
    resource_id: str,
    after_step: Annotated[int, Query(ge=0, description="Only rows of later steps.")] = 0,
) -> Response:
    """JSON lines, or CSV by `Accept`: `step, d_loss, d_acc, g_loss, g_acc` and what the family adds, step by step.

    Evaluations on the way add theirs to the rows of their steps; in CSV, the other rows have empty cells for them.
    """
    folder = _folder(use, resource_id)
    kind = media.choose(request.headers.get("accept"), [media.JSON_LINES, media.CSV])
    rows = _metric_rows(folder / "metrics.jsonl", after_step)
    if kind == media.CSV:
        asked = use.store.read_request(resource_id).request
        now_and_then = asked["evaluate_metrics"] if asked.get("evaluate_every") else ()
        return StreamingResponse(_as_csv(rows, now_and_then), media_type=kind)
    return StreamingResponse((json.dumps(row) + "\n" for row in rows), media_type=kind)


@router.get("/{resource_id}/snapshots", summary="The picture grids so far", response_model=list[SnapshotInfo])
def list_snapshots(use: Use, resource_id: str) -> list[SnapshotInfo]:
    """In the order of their steps."""
    base = f"/v1/trainings/{resource_id}/snapshots"
    return [SnapshotInfo(step=step, link=f"{base}/{step}.png") for step in snapshot_steps(_folder(use, resource_id))]


@router.head("/{resource_id}/snapshots/{step}.png", include_in_schema=False)
@router.get(
    "/{resource_id}/snapshots/{step}.png",
    summary="The picture grid at a step",
    response_class=Response,
    responses=responses(media.PNG),
)
def read_snapshot(
    use: Use, resource_id: str, step: Annotated[int, PathParameter(ge=0, lt=SNAPSHOT_STEPS)], asked: Asked
) -> Response:
    """The same 16 latent points each time, 4x4, in a fixed grey window."""
    try:
        snapshot = in_file(_folder(use, resource_id) / snapshot_name(step))
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no snapshot at step {step}; GET /v1/trainings/{resource_id}/snapshots lists them."
        ) from error
    return send(asked, [snapshot], media.PNG)


@router.head("/{resource_id}/snapshots.gif", include_in_schema=False)
@router.get(
    "/{resource_id}/snapshots.gif",
    summary="The learning as a time-lapse",
    response_class=Response,
    responses=responses(media.GIF),
)
def read_time_lapse(use: Use, resource_id: str, asked: Asked) -> Response:
    """The snapshots so far, at most 120 of them, evenly chosen; the last one stays longest."""
    folder = _folder(use, resource_id)
    steps = snapshot_steps(folder)
    if not steps:
        raise NotFound(f"{resource_id} has no snapshot yet: try again once it runs.")
    stride = -(-len(steps) // TIME_LAPSE_FRAMES)
    chosen = steps[::-1][::stride][::-1]
    frames = [PngFile(folder / snapshot_name(step)).read().pixels.astype(np.uint8) for step in chosen]
    return send(asked, [in_memory(encode_gif(frames, TIME_LAPSE_MILLISECONDS))], media.GIF)


@router.get("/{resource_id}/checkpoints", summary="The states that are kept", response_model=list[CheckpointInfo])
def read_checkpoints(use: Use, resource_id: str) -> list[CheckpointInfo]:
    """In the order of their steps."""
    return list_checkpoints(_folder(use, resource_id))


def _complete(use: Services, request: TrainingRequest) -> TrainingRequest:
    """The request with every hyper-parameter, checked against what there is to train on, with and what."""
    check_kind(request.dataset, Kind.DATASET)
    dataset = use.jobs.finished(request.dataset)
    check_devices(use.redis, request)
    model = use.families.complete(request.model, dataset.request["image_size"])
    counts = (dataset.result or {}).get("counts", {})
    classes = complete_classes(request.classes, use.families.get(model.family), counts)
    if request.evaluate_every is not None:  # the worker looks again, at the images of the classes alone
        part_to_compare_with(dataset.request["image_size"], counts["split"])
    return request.model_copy(update={"model": model, "classes": classes})


def _folder(use: Services, resource_id: str) -> Path:
    check_kind(resource_id, Kind.TRAINING)
    use.store.read_request(resource_id)
    return use.store.folder(resource_id)


def _metric_rows(file: Path, after_step: int) -> Iterator[dict[str, float]]:
    if not file.exists():
        return
    with file.open() as lines:
        for line in lines:
            # A worker may be in the middle of writing the last line.
            if line.endswith("\n") and (row := json.loads(line))["step"] > after_step:
                yield row


def _as_csv(rows: Iterator[dict[str, float]], now_and_then: Iterable[str]) -> Iterator[str]:
    """A line for each row; cells of metrics that are not taken at every step are empty where they are missing."""
    columns: tuple[str, ...] = ()
    for row in rows:
        if not columns:
            columns = tuple(dict.fromkeys((*row, *now_and_then)))
            yield ",".join(map(plain_cell, columns)) + "\n"
        yield ",".join(str(row.get(column, "")) for column in columns) + "\n"
