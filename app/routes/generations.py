"""Generations: batches of synthetic images."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from zipstream import ZipStream

from app import media
from app.routes.resources import PROBLEMS, SUBMITTED, DryRun, Wait, check_kind, rechunked, submit
from app.services import Services, Use
from worker.contract.checkpoints import list_checkpoints
from worker.contract.errors import InvalidRequest, NotFound, WrongState
from worker.contract.requests import GenerationRequest
from worker.contract.resources import Kind, Resource
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name

router = APIRouter(prefix="/v1/generations", tags=["generations"], responses={404: PROBLEMS[404]})


@router.post(
    "",
    status_code=202,
    summary="Draw synthetic images",
    response_model=Resource,
    responses=SUBMITTED,
)
async def create_generation(
    use: Use,
    request: GenerationRequest,
    patience: Wait,
    dry_run: Annotated[bool, Query(description="Only check the request and fill it in.")] = False,
) -> Any:
    """Queue the drawing of `count` images; the same seed gives the same images, whatever the count."""
    resolved = await run_in_threadpool(_resolve, use, request)
    if dry_run:
        return JSONResponse(DryRun(request=resolved.model_dump(mode="json"), result=None).model_dump(mode="json"))
    return await submit(use, Kind.GENERATION, resolved, patience)


@router.get(
    "/{resource_id}/images",
    summary="Download the images",
    response_class=StreamingResponse,
    responses={
        200: {"content": {media.ZIP: {}, media.NPZ: {}, media.PNG: {}}},
        406: {"description": "No such representation."},
        409: PROBLEMS[409],
    },
)
def read_images(use: Use, request: Request, resource_id: str) -> Response:
    """By `Accept`: a ZIP of PNG files, labels.csv and manifest.json; an NPZ array; or a PNG grid of the first 64."""
    kind = media.choose(request.headers.get("accept"), [media.ZIP, media.NPZ, media.PNG])
    resource, folder = _finished(use, resource_id)
    if kind == media.PNG:
        return FileResponse(folder / "grid.png", media_type=media.PNG)
    archive = ZipStream(sized=True)
    if kind == media.ZIP:
        _add_pictures(archive, resource, folder)
    else:
        _add_array(archive, resource, folder)
    return StreamingResponse(
        rechunked(archive),
        media_type=kind,
        headers={
            "Content-Length": str(len(archive)),
            "Content-Disposition": f'attachment; filename="{resource_id}.{kind.rpartition("/")[2].removeprefix("x-")}"',
        },
    )


@router.get(
    "/{resource_id}/images/{index}.png",
    summary="Download one image",
    response_class=Response,
    responses={200: {"content": {media.PNG: {}}}, 409: PROBLEMS[409]},
)
def read_image(use: Use, resource_id: str, index: int) -> Response:
    """Image `index`, from 0, with its provenance in text chunks."""
    resource, folder = _finished(use, resource_id)
    count = resource.request["count"]
    if not 0 <= index < count:
        raise NotFound(f"{resource_id} has images 0 to {count - 1}, and no image {index}.")
    with zipfile.ZipFile(folder / archive_name(index // SHARD_IMAGES)) as shard:
        return Response(shard.read(image_name(index)), media_type=media.PNG)


def _resolve(use: Services, request: GenerationRequest) -> GenerationRequest:
    """The request with `latest` as a step, so that it means the same later on."""
    check_kind(request.training, Kind.TRAINING)
    training = use.store.read_request(request.training)
    if request.labels is not None and not use.families.get(training.request["model"]["family"]).takes_labels:
        family = training.request["model"]["family"]
        raise InvalidRequest.at("#/labels", f"{family} was trained without labels: leave `labels` out.")
    steps = [each.step for each in list_checkpoints(use.store.folder(request.training))]
    if not steps:
        raise WrongState(f"{request.training} has no checkpoint to draw from yet: wait for its first, or its end.")
    if request.checkpoint == "latest":
        return request.model_copy(update={"checkpoint": steps[-1]})
    if request.checkpoint not in steps:
        kept = ", ".join(str(step) for step in steps)
        raise InvalidRequest.at(
            "#/checkpoint", f"There is no checkpoint at step {request.checkpoint}: kept are {kept}."
        )
    return request


def _finished(use: Services, resource_id: str) -> tuple[Resource, Path]:
    check_kind(resource_id, Kind.GENERATION)
    return use.jobs.finished(resource_id), use.store.folder(resource_id)


def _shards(resource: Resource) -> range:
    return range(-(-resource.request["count"] // SHARD_IMAGES))


def _add_pictures(archive: ZipStream, resource: Resource, folder: Path) -> None:
    """Each picture is read when its turn comes, one shard open at a time, so that memory does not grow with them."""

    @lru_cache(maxsize=1)
    def shard_archive(file: Path) -> zipfile.ZipFile:
        return zipfile.ZipFile(file)

    def picture(file: Path, name: str) -> Iterator[bytes]:
        yield shard_archive(file).read(name)

    for shard in _shards(resource):
        file = folder / archive_name(shard)
        for entry in shard_archive(file).infolist():
            archive.add(picture(file, entry.filename), entry.filename, size=entry.file_size)
    archive.add(_labels(resource), "labels.csv")
    archive.add(json.dumps(_manifest(resource), indent=2) + "\n", "manifest.json")


def _add_array(archive: ZipStream, resource: Resource, folder: Path) -> None:
    size = resource.result["image_size"] if resource.result else 0
    shape = (resource.request["count"], size, size)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def array() -> Iterator[bytes]:
        yield header.getvalue()
        for shard in _shards(resource):
            yield np.load(folder / array_name(shard)).tobytes()

    archive.add(array(), "images.npy", size=len(header.getvalue()) + shape[0] * size * size)
    provenance = io.BytesIO()
    np.save(provenance, np.array(json.dumps(_manifest(resource))))
    archive.add(provenance.getvalue(), "manifest.npy")


def _labels(resource: Resource) -> str:
    """file, labels: what the images are meant to show, as far as the request said it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "labels"])
    labels = "|".join(resource.request["labels"] or ())
    rows.writerows([image_name(index), labels] for index in range(resource.request["count"]))
    return text.getvalue()


def _manifest(resource: Resource) -> dict[str, Any]:
    return {
        "id": resource.id,
        "created_at": resource.model_dump(mode="json")["created_at"],
        "request": resource.request,
        "result": resource.result,
    }
