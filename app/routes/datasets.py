"""Datasets: a selection, made ready for training."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app import media
from app.archives import Archive
from app.parts import in_file, in_memory
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, check_kind, submit, submitted
from app.services import Services, Use
from worker.classical_augmentation import contact_sheet
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ClassicalPreset, DatasetRequest
from worker.contract.resources import Kind, Resource
from worker.contract.results import DatasetResult
from worker.contract.space import check_room, dataset_bytes
from worker.selection import preview

router = APIRouter(
    prefix="/v1/datasets", tags=["datasets"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)


class DatasetDryRun(DryRun[DatasetRequest, DatasetResult]):
    """What a dataset would select."""


@router.post(
    "",
    status_code=202,
    summary="Make a dataset",
    response_model=Resource,
    responses=submitted(DatasetDryRun),
)
async def create_dataset(
    use: Use,
    request: DatasetRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only say what would be selected.")] = False,
) -> Any:
    """Select images of a source and prepare them as one array."""
    if dry_run:
        expected = await run_in_threadpool(_preview, use, request)
        body = DatasetDryRun(request=request, result=expected)
        return JSONResponse(body.model_dump(mode="json"))

    def checked() -> DatasetRequest:
        expected = _preview(use, request)
        check_room(use.store.root, dataset_bytes(expected.images, request.image_size))
        return request

    return await submit(use, Kind.DATASET, request, checked, patience=patience, sender=sender)


@router.head("/{resource_id}/contact-sheet.png", include_in_schema=False)
@router.get(
    "/{resource_id}/contact-sheet.png",
    summary="A sample of its images",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_contact_sheet(use: Use, resource_id: str, asked: Asked) -> Response:
    """Up to 64 of the prepared images in a grid."""
    return send(asked, [in_file(_artefact(use, resource_id, "contact-sheet.png"))], media.PNG)


@router.head("/{resource_id}/classical-augmentation.png", include_in_schema=False)
@router.get(
    "/{resource_id}/classical-augmentation.png",
    summary="What classical augmentation makes of an image",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_classical_augmentation(
    use: Use,
    resource_id: str,
    asked: Asked,
    preset: Annotated[ClassicalPreset, Query(description="As in a training.")] = "chest",
    image: Annotated[int, Query(ge=0, description="Its index in items.csv.")] = 0,
) -> Response:
    """All variants of one image, first the image itself: a row for each rotation."""
    images = np.load(_artefact(use, resource_id, "images.npy"), mmap_mode="r")
    if image >= len(images):
        raise InvalidRequest.at("?image", f"The dataset has {len(images)} images: ask for 0 to {len(images) - 1}.")
    return send(asked, [in_memory(contact_sheet(images[image], preset))], media.PNG)


@router.head("/{resource_id}/items.csv", include_in_schema=False)
@router.get(
    "/{resource_id}/items.csv",
    summary="Every image of the source, and why it was taken or not",
    response_class=Response,
    responses=responses(media.CSV) | {409: PROBLEMS[409]},
)
def read_items(use: Use, resource_id: str, asked: Asked) -> Response:
    """One row per image: file, patient, labels, view, sex, age, split, index into the array, why excluded."""
    return send(asked, [in_file(_artefact(use, resource_id, "items.csv"))], media.CSV)


@router.head("/{resource_id}/images.npz", include_in_schema=False)
@router.get(
    "/{resource_id}/images.npz",
    summary="The prepared images",
    response_class=Response,
    responses=responses(media.NPZ) | {409: PROBLEMS[409]},
)
def read_images(use: Use, resource_id: str, asked: Asked) -> Response:
    """`images`: uint8 of shape (images, size, size), 0 black to 255 white, in the order of items.csv's index."""
    archive = Archive()
    archive.add("images.npy", [in_file(_artefact(use, resource_id, "images.npy"))])
    return send(asked, archive.parts(), media.NPZ, file_name=f"{resource_id}.npz")


def _preview(use: Services, request: DatasetRequest) -> DatasetResult:
    return preview(use.sources.get(request.source), request)


def _artefact(use: Services, resource_id: str, name: str) -> Path:
    check_kind(resource_id, Kind.DATASET)
    use.jobs.finished(resource_id)
    return use.store.folder(resource_id) / name
