"""Datasets: a selection, made ready for training."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from zipstream import ZipStream

from app import media
from app.routes.resources import PROBLEMS, SUBMITTED, DryRun, Wait, check_kind, rechunked, submit
from app.services import Services, Use
from worker.contract.requests import DatasetRequest
from worker.contract.resources import Kind, Resource
from worker.selection import preview

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], responses={404: PROBLEMS[404]})


@router.post(
    "",
    status_code=202,
    summary="Make a dataset",
    response_model=Resource,
    responses=SUBMITTED,
)
async def create_dataset(
    use: Use,
    request: DatasetRequest,
    patience: Wait,
    dry_run: Annotated[bool, Query(description="Only say what would be selected.")] = False,
) -> Any:
    """Select images of a source and prepare them as one array."""
    expected = await run_in_threadpool(lambda: preview(use.sources.get(request.source), request))
    if dry_run:
        body = DryRun(request=request.model_dump(mode="json"), result=expected.model_dump(mode="json"))
        return JSONResponse(body.model_dump(mode="json"))
    return await submit(use, Kind.DATASET, request, patience)


@router.get(
    "/{resource_id}/contact-sheet.png",
    summary="A sample of its images",
    response_class=FileResponse,
    responses={200: {"content": {media.PNG: {}}}, 409: PROBLEMS[409]},
)
def read_contact_sheet(use: Use, resource_id: str) -> FileResponse:
    """Up to 64 of the prepared images in a grid."""
    return FileResponse(_artefact(use, resource_id, "contact-sheet.png"), media_type=media.PNG)


@router.get(
    "/{resource_id}/items.csv",
    summary="Every image of the source, and why it was taken or not",
    response_class=FileResponse,
    responses={200: {"content": {media.CSV: {}}}, 409: PROBLEMS[409]},
)
def read_items(use: Use, resource_id: str) -> FileResponse:
    """One row per image: file, patient, labels, view, sex, age, split, index into the array, why excluded."""
    return FileResponse(_artefact(use, resource_id, "items.csv"), media_type=media.CSV)


@router.get(
    "/{resource_id}/images.npz",
    summary="The prepared images",
    response_class=StreamingResponse,
    responses={200: {"content": {media.NPZ: {}}}, 409: PROBLEMS[409]},
)
def read_images(use: Use, resource_id: str) -> StreamingResponse:
    """`images`: uint8 of shape (images, size, size), 0 black to 255 white, in the order of items.csv's index."""
    archive = ZipStream(sized=True)
    array = _artefact(use, resource_id, "images.npy")
    archive.add_path(str(array), "images.npy")
    return StreamingResponse(
        rechunked(archive),
        media_type=media.NPZ,
        headers={
            "Content-Length": str(len(archive)),
            "Content-Disposition": f'attachment; filename="{resource_id}.npz"',
        },
    )


def _artefact(use: Services, resource_id: str, name: str) -> Path:
    check_kind(resource_id, Kind.DATASET)
    use.jobs.finished(resource_id)
    return use.store.folder(resource_id) / name
