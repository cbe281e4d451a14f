"""Generations: batches of synthetic images."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app import media
from app.archives import Archive
from app.balancing import complete_balance
from app.checkpoints import chosen_checkpoint
from app.parts import Part, in_file, in_memory, made_when_read
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, check_kind, submit, submitted
from app.services import Services, Use
from worker.contract.checkpoints import CheckpointRecord
from worker.contract.errors import NotFound
from worker.contract.requests import GenerationRequest
from worker.contract.resources import Kind, Resource
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name
from worker.contract.space import check_room, generation_bytes
from worker.sources.cells import plain_cell
from worker.sources.classes import label_of, labels_to_draw
from worker.sources.segments import Segment, labels_within, segments_of

router = APIRouter(
    prefix="/v1/generations", tags=["generations"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)


class GenerationDryRun(DryRun[GenerationRequest, None]):
    """Which checkpoint a generation would draw from, and how many images."""


@router.post(
    "",
    status_code=202,
    summary="Draw synthetic images",
    response_model=Resource,
    responses=submitted(GenerationDryRun),
)
async def create_generation(
    use: Use,
    request: GenerationRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only check the request and fill it in.")] = False,
) -> Any:
    """Queue the drawing of `count` images; the same seed gives the same images, whatever the count.

    With `balance`, of what the classes of a dataset lack to be as large as the largest.
    """
    if dry_run:
        resolved, _ = await run_in_threadpool(_resolve, use, request)
        return JSONResponse(GenerationDryRun(request=resolved, result=None).model_dump(mode="json"))

    def checked() -> GenerationRequest:
        resolved, checkpoint = _resolve(use, request)
        check_room(use.store.root, generation_bytes(resolved.count, checkpoint.image_size, resolved.all_labels))
        return resolved

    return await submit(use, Kind.GENERATION, request, checked, patience=patience, sender=sender)


@router.head("/{resource_id}/images", include_in_schema=False)
@router.get(
    "/{resource_id}/images",
    summary="Download the images",
    response_class=Response,
    responses=responses(media.ZIP, media.NPZ, media.PNG)
    | {406: {"description": "No such representation."}, 409: PROBLEMS[409]},
)
def read_images(use: Use, request: Request, resource_id: str, asked: Asked) -> Response:
    """By `Accept`: a ZIP of PNG files, labels.csv and manifest.json; an NPZ array; or a PNG grid of the first 64."""
    kind = media.choose(request.headers.get("accept"), [media.ZIP, media.NPZ, media.PNG])
    resource, folder = _finished(use, resource_id)
    if kind == media.PNG:
        return send(asked, [in_file(folder / "grid.png")], kind, varies=True)
    archive, suffix = (_pictures(resource, folder), "zip") if kind == media.ZIP else (_array(resource, folder), "npz")
    return send(asked, archive.parts(), kind, file_name=f"{resource_id}.{suffix}", varies=True)


@router.head("/{resource_id}/images/{index}.png", include_in_schema=False)
@router.get(
    "/{resource_id}/images/{index}.png",
    summary="Download one image",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_image(use: Use, resource_id: str, index: int, asked: Asked) -> Response:
    """Image `index`, from 0, with its provenance in text chunks."""
    resource, folder = _finished(use, resource_id)
    count = resource.request["count"]
    if not 0 <= index < count:
        raise NotFound(f"{resource_id} has images 0 to {count - 1}, and no image {index}.")
    with zipfile.ZipFile(folder / archive_name(index // SHARD_IMAGES)) as shard:
        return send(asked, [in_memory(shard.read(image_name(index)))], media.PNG)


def _resolve(use: Services, request: GenerationRequest) -> tuple[GenerationRequest, CheckpointRecord]:
    """The request with a step and every label, so that it means the same later on, and the checkpoint at that step."""
    if request.training is None:
        return _resolve_balance(use, request, str(request.balance))
    check_kind(request.training, Kind.TRAINING)
    use.store.read_request(request.training)  # NotFound for one that there is not
    checkpoint = chosen_checkpoint(use.store, request.training, request.checkpoint)
    labels = labels_to_draw(request.labels, checkpoint.classes, checkpoint.family)
    return request.model_copy(update={"checkpoint": checkpoint.step, "labels": labels}), checkpoint


def _resolve_balance(
    use: Services, request: GenerationRequest, dataset: str
) -> tuple[GenerationRequest, CheckpointRecord]:
    check_kind(dataset, Kind.DATASET)
    for draw in request.trainings.values():
        check_kind(draw.training, Kind.TRAINING)
    use.jobs.finished(dataset)
    return complete_balance(use.store, request, dataset)


def _finished(use: Services, resource_id: str) -> tuple[Resource, Path]:
    check_kind(resource_id, Kind.GENERATION)
    return use.jobs.finished(resource_id), use.store.folder(resource_id)


def _shards(resource: Resource) -> range:
    return range(-(-resource.request["count"] // SHARD_IMAGES))


def _pictures(resource: Resource, folder: Path) -> Archive:
    """The shards' own archives, one after the other, as they lie in the store: no picture is touched."""
    archive = Archive()
    for shard in _shards(resource):
        archive.add_all_of(folder / archive_name(shard))
    archive.add("labels.csv", _labels(resource))
    archive.add("manifest.json", [in_memory(f"{json.dumps(_manifest(resource), indent=2)}\n".encode())])
    return archive


def _array(resource: Resource, folder: Path) -> Archive:
    """One array of the shards' arrays, each without the header that it has in its file."""
    count, size = resource.request["count"], resource.result["image_size"] if resource.result else 0
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(header, shape)
    content = [in_memory(header.getvalue())]
    for shard in _shards(resource):
        file, pixels = folder / array_name(shard), min(SHARD_IMAGES, count - shard * SHARD_IMAGES) * size * size
        content.append(in_file(file, offset=file.stat().st_size - pixels))
    archive = Archive()
    archive.add("images.npy", content)
    request = GenerationRequest.model_validate(resource.request)
    if labels := request.all_labels:
        archive.add("labels.npy", _labels_array(request, labels))
    provenance = io.BytesIO()
    np.save(provenance, np.array(json.dumps(_manifest(resource))))
    archive.add("manifest.npy", [in_memory(provenance.getvalue())])
    return archive


def _labels(resource: Resource) -> list[Part]:
    """file, labels: what the images are meant to show, as far as the request said it."""
    segments = segments_of(GenerationRequest.model_validate(resource.request))
    size = sum(_rows_size(segment) for segment in segments)

    def rows() -> bytes:
        return "".join(row for segment in segments for row in _rows(segment)).encode()

    return [in_memory(_csv_row(["file", "labels"]).encode()), made_when_read(size, rows)]


def _rows(segment: Segment) -> Iterator[str]:
    after_names = _after_names(segment)
    for index in range(segment.first, segment.first + segment.count):
        yield f"{image_name(index)}{label_of(after_names, index)}"


def _rows_size(segment: Segment) -> int:
    """In bytes."""
    sizes = (len(f"{image_name(0)}{after_name}".encode()) for after_name in _after_names(segment))
    return sum(size * images for size, images in zip(sizes, segment.turns(), strict=True))


def _after_names(segment: Segment) -> list[str]:
    return [_csv_row(["", plain_cell(label)]) for label in segment.labels or ("",)]


def _csv_row(cells: Sequence[str]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow(cells)
    return row.getvalue()


def _labels_array(request: GenerationRequest, labels: Sequence[str]) -> list[Part]:
    """The label of each image, one of these, as NumPy's texts of fixed length, made a shard at a time."""
    kind, segments = np.array(labels).dtype, segments_of(request)
    header = io.BytesIO()
    shape = {"descr": kind.str, "fortran_order": False, "shape": (request.count,)}
    np.lib.format.write_array_header_1_0(header, shape)

    def of_images(first: int, count: int) -> bytes:
        return np.array(labels_within(segments, first, count), kind).tobytes()

    content = [in_memory(header.getvalue())]
    for first in range(0, request.count, SHARD_IMAGES):
        images = min(SHARD_IMAGES, request.count - first)
        content.append(made_when_read(images * kind.itemsize, partial(of_images, first, images)))
    return content


def _manifest(resource: Resource) -> dict[str, Any]:
    return {
        "id": resource.id,
        "created_at": resource.model_dump(mode="json")["created_at"],
        "request": resource.request,
        "result": resource.result,
    }
