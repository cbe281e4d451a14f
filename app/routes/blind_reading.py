"""Blind reading: all that a reader of a study receives, and nothing that tells real images from synthetic ones."""

from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app import media
from app.blind_readings import BlindReading, check_answer
from app.parts import in_memory
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, check_kind
from app.services import Services, Use
from worker.contract.readings import Answer, Reader
from worker.contract.requests import ReadingTask
from worker.contract.resources import Kind, Resource

READERS = "/v1/reader-studies/{resource_id}/readers"

router = APIRouter(
    prefix=READERS + "/{reader_id}",
    tags=["reader-studies"],
    responses=OF_ANY_ADDRESS | {409: PROBLEMS[409]},
    dependencies=[Depends(check_body)],
)


class NextImage(BaseModel):
    """The image whose turn it is."""

    place: int = Field(description="From 0.")
    image: str = Field(description="Where it is.")
    answer: str = Field(description="Where to PUT the answer.")


class ReaderView(BaseModel):
    """How far a reader is, and what comes next."""

    id: str
    study: str
    name: str
    tasks: tuple[ReadingTask, ...] = Field(description="What to answer of each image.")
    classes: tuple[str, ...] = Field(description="To choose from; empty without the task `class`.")
    image_size: int
    images: int = Field(description="In all.")
    answered: int
    next: NextImage | None = Field(description="Null once all are answered.")


def view_of(study: Resource, reader: Reader, answered: int) -> ReaderView:
    """What a reader may know: nothing of it depends on which image is which."""
    result = study.result or {}
    here = f"{READERS.format(resource_id=study.id)}/{reader.id}"
    following = NextImage(place=answered, image=f"{here}/images/{answered}.png", answer=f"{here}/answers/{answered}")
    return ReaderView(
        id=reader.id,
        study=study.id,
        name=reader.name,
        tasks=study.request["tasks"],
        classes=result["classes"],
        image_size=result["image_size"],
        images=len(reader.order),
        answered=answered,
        next=following if answered < len(reader.order) else None,
    )


@router.get("", summary="See how far a reader is", response_model=ReaderView)
def read_reader(use: Use, resource_id: str, reader_id: str) -> Any:
    """What to answer, how many images are answered, and which comes next: to stop and go on at any time."""
    study, reading = ready(use, resource_id)
    reader = reading.reader(reader_id)
    return view_of(study, reader, reading.answered(reader))


@router.head("/images/{place}.png", include_in_schema=False)
@router.get(
    "/images/{place}.png",
    summary="Look at the next image",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_blind_image(use: Use, resource_id: str, reader_id: str, place: int, asked: Asked) -> Response:
    """The image whose turn it is, 8-bit grey and uncompressed, so that all files are of one length."""
    _, reading = ready(use, resource_id)
    return send(asked, [in_memory(reading.image(reading.reader(reader_id), place))], media.PNG)


@router.put(
    "/answers/{place}",
    summary="Answer an image",
    response_model=ReaderView,
    responses={status: PROBLEMS[status] for status in (400, 413, 507)},
)
def answer_image(use: Use, resource_id: str, reader_id: str, place: int, answer: Answer) -> Any:
    """Keep an answer, and tell what comes next. It stands: the same again is no error, another one is."""
    study, reading = ready(use, resource_id)
    reader = reading.reader(reader_id)
    check_answer(answer, study.request["tasks"], (study.result or {})["classes"])
    reading.answer(reader, place, answer)
    return view_of(study, reader, reading.answered(reader))


def ready(use: Services, resource_id: str) -> tuple[Resource, BlindReading]:
    """A study whose images are there; WrongState before."""
    check_kind(resource_id, Kind.READER_STUDY)
    return use.jobs.finished(resource_id), BlindReading(use.store, resource_id)
