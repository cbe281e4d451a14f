"""Trainings: a run of a family on a dataset, to be watched while it learns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from app import media
from app.devices import check_devices
from app.forecast import forecast
from app.routes.resources import PROBLEMS, SUBMITTED, DryRun, Wait, accepted, check_kind, submit
from app.services import Services, Use
from worker.contract.checkpoints import list_checkpoints
from worker.contract.errors import InvalidRequest, NotFound
from worker.contract.requests import ResumeRequest, TrainingRequest
from worker.contract.resources import Kind, Resource
from worker.contract.results import CheckpointInfo, SnapshotInfo
from worker.sources.pixels import PngFile, encode_gif

TIME_LAPSE_FRAMES = 120
"""More frames than this are thinned evenly, so that the picture stays small enough to send to a colleague."""
TIME_LAPSE_MILLISECONDS = 80

router = APIRouter(prefix="/v1/trainings", tags=["trainings"], responses={404: PROBLEMS[404]})


@router.post(
    "",
    status_code=202,
    summary="Train a family on a dataset",
    response_model=Resource,
    responses=SUBMITTED,
)
async def create_training(
    use: Use,
    request: TrainingRequest,
    patience: Wait,
    dry_run: Annotated[bool, Query(description="Only say what it would take.")] = False,
) -> Any:
    """Queue a training; its hyper-parameters are checked against the family's schema and filled in."""
    complete = await run_in_threadpool(_complete, use, request)
    if dry_run:
        expected = await forecast(complete, redis=use.redis, streams=use.streams)
        body = DryRun(request=complete.model_dump(mode="json"), result=expected.model_dump(mode="json"))
        return JSONResponse(body.model_dump(mode="json"))
    return await submit(use, Kind.TRAINING, complete, patience)


@router.post(
    "/{resource_id}/resume",
    status_code=202,
    summary="Carry a training further",
    response_model=Resource,
    responses={409: PROBLEMS[409], 422: PROBLEMS[422], 503: PROBLEMS[503]},
)
def resume_training(use: Use, resource_id: str, request: ResumeRequest | None = None) -> Any:
    """Go on from the newest checkpoint of a training that has ended, to the same or a new total of steps."""
    check_kind(resource_id, Kind.TRAINING)
    steps = request.steps if request else None

    def extend(old: dict[str, Any]) -> dict[str, Any]:
        done = max((each.step for each in list_checkpoints(use.store.folder(resource_id))), default=0)
        total = steps or old["steps"]
        if total <= done:
            raise InvalidRequest.at(
                "#/steps", f"{resource_id} has already done {done} steps: resume it with `steps` above {done}."
            )
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
    """JSON lines, or CSV by `Accept`: `step, d_loss, d_acc, g_loss, g_acc` and what the family adds, step by step."""
    folder = _folder(use, resource_id)
    kind = media.choose(request.headers.get("accept"), [media.JSON_LINES, media.CSV])
    rows = _metric_rows(folder / "metrics.jsonl", after_step)
    lines = _as_csv(rows) if kind == media.CSV else (json.dumps(row) + "\n" for row in rows)
    return StreamingResponse(lines, media_type=kind)


@router.get("/{resource_id}/snapshots", summary="The picture grids so far", response_model=list[SnapshotInfo])
def list_snapshots(use: Use, resource_id: str) -> list[SnapshotInfo]:
    """In the order of their steps."""
    base = f"/v1/trainings/{resource_id}/snapshots"
    return [SnapshotInfo(step=step, link=f"{base}/{step}.png") for step in _snapshot_steps(_folder(use, resource_id))]


@router.get(
    "/{resource_id}/snapshots/{step}.png",
    summary="The picture grid at a step",
    response_class=FileResponse,
    responses={200: {"content": {media.PNG: {}}}},
)
def read_snapshot(use: Use, resource_id: str, step: int) -> FileResponse:
    """The same 16 latent points each time, 4x4, in a fixed grey window."""
    file = _folder(use, resource_id) / _snapshot_name(step)
    if not file.exists():
        raise NotFound(f"There is no snapshot at step {step}; GET /v1/trainings/{resource_id}/snapshots lists them.")
    return FileResponse(file, media_type=media.PNG)


@router.get(
    "/{resource_id}/snapshots.gif",
    summary="The learning as a time-lapse",
    response_class=Response,
    responses={200: {"content": {media.GIF: {}}}},
)
def read_time_lapse(use: Use, resource_id: str) -> Response:
    """The snapshots so far, at most 120 of them, evenly chosen; the last one stays longest."""
    folder = _folder(use, resource_id)
    steps = _snapshot_steps(folder)
    if not steps:
        raise NotFound(f"{resource_id} has no snapshot yet: try again once it runs.")
    stride = -(-len(steps) // TIME_LAPSE_FRAMES)
    chosen = steps[::-1][::stride][::-1]
    frames = [PngFile(folder / _snapshot_name(step)).read().pixels.astype(np.uint8) for step in chosen]
    return Response(encode_gif(frames, TIME_LAPSE_MILLISECONDS), media_type=media.GIF)


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
    return request.model_copy(update={"model": model})


def _folder(use: Services, resource_id: str) -> Path:
    check_kind(resource_id, Kind.TRAINING)
    use.store.read_request(resource_id)
    return use.store.folder(resource_id)


def _snapshot_name(step: int) -> str:
    return f"snapshots/{step:08d}.png"


def _snapshot_steps(folder: Path) -> list[int]:
    return sorted(int(file.stem) for file in (folder / "snapshots").glob("[0-9]*.png"))


def _metric_rows(file: Path, after_step: int) -> Iterator[dict[str, float]]:
    if not file.exists():
        return
    with file.open() as lines:
        for line in lines:
            # A worker may be in the middle of writing the last line.
            if line.endswith("\n") and (row := json.loads(line))["step"] > after_step:
                yield row


def _as_csv(rows: Iterator[dict[str, float]]) -> Iterator[str]:
    header = False
    for row in rows:
        if not header:
            yield ",".join(row) + "\n"
            header = True
        yield ",".join(str(value) for value in row.values()) + "\n"
