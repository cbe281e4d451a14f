"""Evaluations: how synthetic images compare with real ones."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from app import media
from app.checkpoints import chosen_checkpoint
from app.parts import in_file
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, SentBy, Wait, check_kind, submit, submitted
from app.services import Services, Use
from worker.contract.errors import InvalidRequest, NotFound
from worker.contract.requests import MIN_EVALUATED, MIN_EVALUATED_PIXELS, EvaluationRequest
from worker.contract.resources import Kind, Resource

router = APIRouter(
    prefix="/v1/evaluations", tags=["evaluations"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)]
)


@router.post(
    "",
    status_code=202,
    summary="Compare synthetic images with real ones",
    response_model=Resource,
    responses=submitted(),
)
async def create_evaluation(use: Use, request: EvaluationRequest, patience: Wait, sender: SentBy) -> Any:
    """Queue an evaluation: distances, variety, and whether training images were copied."""

    def checked() -> EvaluationRequest:
        return _resolve(use, request)

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


def _resolve(use: Services, request: EvaluationRequest) -> EvaluationRequest:
    """The request with `latest` as a step, if there is something to compare with."""
    check_kind(request.training, Kind.TRAINING)
    training = use.store.read_request(request.training)
    dataset = use.jobs.finished(training.request["dataset"])
    real = (dataset.result or {})["counts"]["split"].get(request.reference, 0)
    if real < MIN_EVALUATED:
        raise InvalidRequest.at(
            "#/reference",
            f"The part {request.reference!r} of {dataset.id} has {real} images, and an evaluation needs "
            f"{MIN_EVALUATED}: take another part, or make a dataset with a larger one.",
        )
    if (size := dataset.request["image_size"]) < MIN_EVALUATED_PIXELS:
        raise InvalidRequest.at(
            "#/training", f"Its images are {size} pixels on a side, and an evaluation needs {MIN_EVALUATED_PIXELS}."
        )
    checkpoint = chosen_checkpoint(use.store, request.training, request.checkpoint)
    return request.model_copy(update={"checkpoint": checkpoint.step})


def _artefact(use: Services, resource_id: str, name: str) -> Path:
    check_kind(resource_id, Kind.EVALUATION)
    use.jobs.finished(resource_id)
    return use.store.folder(resource_id) / name
