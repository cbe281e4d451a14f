"""Evaluations: how synthetic images compare with real ones."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app import cards, media
from app.card_facts import collect
from app.checkpoints import chosen_checkpoint
from app.classes import images_to_compare
from app.parts import in_file, in_memory
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, check_kind, submit, submitted
from app.security_headers import POLICY
from app.services import Services, Use
from worker.contract.compared_part import check_reference
from worker.contract.errors import NotFound
from worker.contract.requests import EvaluationRequest
from worker.contract.resources import Kind, Resource
from worker.contract.results import EvaluationForecast
from worker.contract.space import check_room, evaluation_bytes

router = APIRouter(
    prefix="/v1/evaluations", tags=["evaluations"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)


class EvaluationDryRun(DryRun[EvaluationRequest, EvaluationForecast]):
    """What an evaluation would compare."""


@router.post(
    "",
    status_code=202,
    summary="Compare synthetic images with real ones",
    response_model=Resource,
    responses=submitted(EvaluationDryRun),
)
async def create_evaluation(
    use: Use,
    request: EvaluationRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only say what would be compared.")] = False,
) -> Any:
    """Queue an evaluation: distances, variety, and whether training images were copied."""
    if dry_run:
        resolved, expected = await run_in_threadpool(_resolve, use, request)
        return JSONResponse(EvaluationDryRun(request=resolved, result=expected).model_dump(mode="json"))

    def checked() -> EvaluationRequest:
        resolved, expected = _resolve(use, request)
        check_room(use.store.root, evaluation_bytes(expected.image_size))
        return resolved

    return await submit(use, Kind.EVALUATION, request, checked, patience=patience, sender=sender)


@router.head("/{resource_id}/grid.png", include_in_schema=False)
@router.get(
    "/{resource_id}/grid.png",
    summary="Synthetic images beside real ones",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_grid(use: Use, resource_id: str, asked: Asked) -> Response:
    """Up to 32 synthetic images above, as many real ones below."""
    return send(asked, [in_file(_artefact(use, resource_id, "grid.png"))], media.PNG)


@router.head("/{resource_id}/nearest.png", include_in_schema=False)
@router.get(
    "/{resource_id}/nearest.png",
    summary="The pairs that look most like copies",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_nearest(use: Use, resource_id: str, asked: Asked) -> Response:
    """Synthetic images above, below each the training image that it is nearest to; the likeliest copies first."""
    try:
        picture = in_file(_artefact(use, resource_id, "nearest.png"))
    except FileNotFoundError as error:
        raise NotFound(f"{resource_id} looked for no copies: its caveats say why.") from error
    return send(asked, [picture], media.PNG)


@router.head("/{resource_id}/card.md", include_in_schema=False)
@router.get(
    "/{resource_id}/card.md",
    summary="The data card, as Markdown",
    response_class=Response,
    responses=responses(media.MARKDOWN) | {409: PROBLEMS[409]},
)
def read_card_as_markdown(use: Use, resource_id: str, asked: Asked) -> Response:
    """What was learnt from, how, what came of it, and how to do it again; pictures by their addresses."""
    card = cards.as_markdown(collect(use.store, _finished(use, resource_id)))
    return send(asked, [in_memory(card.encode())], media.MARKDOWN)


@router.head("/{resource_id}/card.html", include_in_schema=False)
@router.get(
    "/{resource_id}/card.html",
    summary="The data card, as a page to print",
    response_class=Response,
    responses=responses(media.HTML) | {409: PROBLEMS[409]},
)
def read_card_as_page(use: Use, resource_id: str, asked: Asked) -> Response:
    """The same as one file, pictures included, that can be kept and passed on."""
    card = cards.as_page(collect(use.store, _finished(use, resource_id)))
    response = send(asked, [in_memory(card.encode())], media.HTML)
    response.headers[POLICY] = cards.PAGE_POLICY
    return response


def _resolve(use: Services, request: EvaluationRequest) -> tuple[EvaluationRequest, EvaluationForecast]:
    """The request with its checkpoint as a step, and what it would compare, if there is something to compare with."""
    check_kind(request.training, Kind.TRAINING)
    training = use.store.read_request(request.training)
    dataset = use.jobs.finished(training.request["dataset"])
    checkpoint = chosen_checkpoint(use.store, request.training, request.checkpoint)
    real = images_to_compare(use.store, dataset, request.reference, training, checkpoint)
    size = dataset.request["image_size"]
    check_reference(request, size, real)
    expected = EvaluationForecast(image_size=size, synthetic=request.count, real=min(real, request.count))
    return request.model_copy(update={"checkpoint": checkpoint.step}), expected


def _finished(use: Services, resource_id: str) -> Resource:
    check_kind(resource_id, Kind.EVALUATION)
    return use.jobs.finished(resource_id)


def _artefact(use: Services, resource_id: str, name: str) -> Path:
    return use.store.folder(_finished(use, resource_id).id) / name
