"""Reader studies, as their owner sees them: how they are made, who reads, and what came of it."""

import csv
import io
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from app import media
from app.access import CalledBy, Caller
from app.blind_readings import BlindReading, finished
from app.checkpoints import chosen_checkpoint
from app.classes import images_to_compare
from app.parts import in_memory
from app.reading_results import ReadingResults, results_of
from app.routes.blind_reading import ReaderView, ready, view_of
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, check_kind, submit, submitted
from app.services import Services, Use
from worker.contract.readings import Enrolment, check_reading
from worker.contract.requests import ReaderStudyRequest
from worker.contract.resources import Kind, Resource, rfc3339
from worker.contract.results import ReaderStudyForecast
from worker.contract.space import check_room, reader_study_bytes
from worker.sources.cells import plain_cell

router = APIRouter(
    prefix="/v1/reader-studies", tags=["reader-studies"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)
COLUMNS = (
    *("reader", "name", "place", "image", "origin", "class", "source"),
    *("answered_origin", "answered_class", "confidence", "seconds", "answered_at"),
)


_ENROLLED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "Where the reader reads.", "schema": {"type": "string"}}}}
}


class ReaderStudyDryRun(DryRun[ReaderStudyRequest, ReaderStudyForecast]):
    """What a reader study would show."""


class Readers(BaseModel):
    """All readers of a study."""

    data: list[ReaderView]


@router.post(
    "",
    status_code=202,
    summary="Have people tell synthetic images from real ones",
    response_model=Resource,
    responses=submitted(ReaderStudyDryRun),
)
async def create_reader_study(
    use: Use,
    request: ReaderStudyRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only say what would be shown.")] = False,
) -> Any:
    """Queue the mixing of synthetic images with as many real ones; readers are enrolled once that has ended."""
    if dry_run:
        resolved, expected = await run_in_threadpool(_resolve, use, request)
        return JSONResponse(ReaderStudyDryRun(request=resolved, result=expected).model_dump(mode="json"))

    def checked() -> ReaderStudyRequest:
        resolved, expected = _resolve(use, request)
        check_room(use.store.root, reader_study_bytes(request.count, expected.image_size))
        return resolved

    return await submit(use, Kind.READER_STUDY, request, checked, patience=patience, sender=sender)


@router.post(
    "/{resource_id}/readers",
    status_code=201,
    summary="Enrol a reader",
    response_model=ReaderView,
    responses=_ENROLLED | {status: PROBLEMS[status] for status in (400, 409, 413, 507)},
)
def enrol_reader(use: Use, response: Response, resource_id: str, enrolment: Enrolment) -> Any:
    """Take a reader in. The id is as good as a password: pass it on to nobody but them."""
    study, reading = ready(use, resource_id)
    reader = reading.enrol(enrolment.name)
    response.headers["Location"] = f"/v1/reader-studies/{resource_id}/readers/{reader.id}"
    return view_of(study, reader, 0)


@router.get(
    "/{resource_id}/readers", summary="List the readers", response_model=Readers, responses={409: PROBLEMS[409]}
)
def list_readers(use: Use, caller: CalledBy, resource_id: str) -> Any:
    """Who reads, and how far they are; for the study's maker and admins."""
    study, reading = _unblinded(use, caller, resource_id)
    return Readers(data=[view_of(study, reader, reading.answered(reader)) for reader in reading.readers()])


@router.get(
    "/{resource_id}/results",
    summary="See how well readers could tell",
    response_model=ReadingResults,
    responses={409: PROBLEMS[409]},
)
def read_results(use: Use, caller: CalledBy, resource_id: str) -> Any:
    """Of those who have answered every image; for the study's maker and admins."""
    study, reading = _unblinded(use, caller, resource_id)
    return results_of(study.request["tasks"], (study.result or {})["classes"], reading)


@router.head("/{resource_id}/results.csv", include_in_schema=False)
@router.get(
    "/{resource_id}/results.csv",
    summary="Download every answer",
    response_class=Response,
    responses=responses(media.CSV) | {409: PROBLEMS[409]},
)
def read_results_table(use: Use, caller: CalledBy, resource_id: str, asked: Asked) -> Response:
    """A row for each answer of those who have finished, with the truth; for the study's maker and admins."""
    _, reading = _unblinded(use, caller, resource_id)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(reading))
    return send(asked, [in_memory(table.getvalue().encode())], media.CSV, file_name=f"{resource_id}.csv")


def _resolve(use: Services, request: ReaderStudyRequest) -> tuple[ReaderStudyRequest, ReaderStudyForecast]:
    """The request with its checkpoint as a step, and what it would show, if there is something to show."""
    check_kind(request.training, Kind.TRAINING)
    training = use.store.read_request(request.training)
    dataset = use.jobs.finished(training.request["dataset"])
    checkpoint = chosen_checkpoint(use.store, request.training, request.checkpoint)
    held_out = images_to_compare(use.store, dataset, request.reference, training, checkpoint)
    check_reading(request, checkpoint.classes, held_out)
    expected = ReaderStudyForecast(
        image_size=dataset.request["image_size"],
        synthetic=request.count,
        real=request.count,
        classes=checkpoint.classes.names if "class" in request.tasks else (),
    )
    return request.model_copy(update={"checkpoint": checkpoint.step}), expected


def _unblinded(use: Services, caller: Caller, resource_id: str) -> tuple[Resource, BlindReading]:
    """A study for those who may know which image is which; NotAllowed for others."""
    check_kind(resource_id, Kind.READER_STUDY)
    caller.check_may_unblind(use.store.read_request(resource_id))
    return ready(use, resource_id)


def _rows(reading: BlindReading) -> Iterator[tuple[Any, ...]]:
    truth = reading.truth().images
    for reader, answers in finished(reading):
        for place, (index, answer) in enumerate(zip(reader.order, answers, strict=True)):
            image = truth[index]
            yield (
                *(reader.id, plain_cell(reader.name), place, index),
                *(image.origin, plain_cell(image.class_name or ""), image.source),
                *(answer.origin or "", plain_cell(answer.class_name or "")),
                *(answer.confidence, answer.seconds, rfc3339(answer.answered_at)),
            )
