"""Studies: whether synthetic images help a classifier."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app import media
from app.classes import known_classes
from app.forecast import forecast
from app.parts import Part, in_file
from app.routes.bodies import check_body
from app.routes.downloads import Asked, responses, send
from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS, DryRun, SentBy, Wait, check_kind, submit, submitted
from app.services import Services, Use
from worker.contract.errors import InvalidRequest, NotFound, WrongState
from worker.contract.requests import ModelChoice
from worker.contract.resources import Kind, Resource
from worker.contract.results import StudyForecast
from worker.contract.space import check_room, study_bytes
from worker.contract.study_cells import cells_of
from worker.contract.study_requests import StudyRequest
from worker.sources.base import SPLITS
from worker.sources.classes import FEWEST_CLASSES, check_told_apart, check_unlabelled

router = APIRouter(prefix="/v1/studies", tags=["studies"], responses=OF_ANY_ADDRESS, dependencies=[Depends(check_body)])


class StudyDryRun(DryRun[StudyRequest, StudyForecast]):
    """What a study would take."""


@router.post(
    "",
    status_code=202,
    summary="Find out whether synthetic images help a classifier",
    response_model=Resource,
    responses=submitted(StudyDryRun),
)
async def create_study(
    use: Use,
    request: StudyRequest,
    patience: Wait,
    sender: SentBy,
    dry_run: Annotated[bool, Query(description="Only say what it would take.")] = False,
) -> Any:
    """Queue a study: generators and classifiers, fold by fold, tested on patients whom none of them has learnt from."""
    if dry_run:
        complete = await run_in_threadpool(_complete, use, request)
        expected = await forecast(complete, StudyForecast, redis=use.redis, streams=use.streams)
        return JSONResponse(StudyDryRun(request=complete, result=expected).model_dump(mode="json"))

    def checked() -> StudyRequest:
        complete = _complete(use, request)
        check_room(use.store.root, _bytes_at_least(use, complete))
        return complete

    return await submit(use, Kind.STUDY, request, checked, patience=patience, sender=sender)


@router.head("/{resource_id}/curve.png", include_in_schema=False)
@router.get(
    "/{resource_id}/curve.png",
    summary="Accuracy against the number of synthetic images",
    response_class=Response,
    responses=responses(media.PNG) | {409: PROBLEMS[409]},
)
def read_curve(use: Use, resource_id: str, asked: Asked) -> Response:
    """A line for each arm, with its interval and what was chosen."""
    return send(asked, [_artefact(use, resource_id, "curve.png")], media.PNG)


@router.head("/{resource_id}/curve.svg", include_in_schema=False)
@router.get(
    "/{resource_id}/curve.svg",
    summary="The same, to be printed",
    response_class=Response,
    responses=responses(media.SVG) | {409: PROBLEMS[409]},
)
def read_curve_to_print(use: Use, resource_id: str, asked: Asked) -> Response:
    """In lines and letters, sharp at every size."""
    return send(asked, [_artefact(use, resource_id, "curve.svg")], media.SVG)


@router.head("/{resource_id}/tables/{table}.csv", include_in_schema=False)
@router.get(
    "/{resource_id}/tables/{table}.csv",
    summary="A table of what was found",
    response_class=Response,
    responses=responses(media.CSV) | {409: PROBLEMS[409]},
)
def read_table(
    use: Use, resource_id: str, table: Literal["arms", "comparisons", "curve", "predictions"], asked: Asked
) -> Response:
    """Scores by arm, comparisons of arms, points of the curve, or what each arm told of each test image."""
    return send(
        asked, [_artefact(use, resource_id, f"tables/{table}.csv")], media.CSV, file_name=f"{resource_id}-{table}.csv"
    )


def _complete(use: Services, request: StudyRequest) -> StudyRequest:
    """The request with every hyper-parameter, checked against the dataset as far as its counts tell."""
    check_kind(request.dataset, Kind.DATASET)
    dataset = use.jobs.finished(request.dataset)
    result = dataset.result or {}
    if (names := known_classes(request.classes, result["counts"])) is not None:
        check_told_apart(names)
    _check_parts(request, result)
    if not request.needs_generators:
        return request
    model = _complete_model(use, request.generator.model, dataset.request["image_size"])
    return request.model_copy(update={"generator": request.generator.model_copy(update={"model": model})})


def _check_parts(request: StudyRequest, dataset: dict[str, Any]) -> None:
    """Whether there can be as many folds, or parts to take in their place; the worker looks again, by class."""
    if request.folds is not None and dataset["patients"] < request.folds:
        raise InvalidRequest.at(
            "#/folds",
            f"The dataset has {dataset['patients']} patients, too few for {request.folds} folds: ask for fewer, or "
            "take a larger dataset.",
        )
    if request.folds is None and (empty := [part for part in SPLITS if not dataset["counts"]["split"].get(part)]):
        raise InvalidRequest.at(
            "#/folds",
            f"Without folds the dataset's own parts are taken, and no image is in {' or '.join(empty)}: ask for "
            "`folds`, or make a dataset with such parts.",
        )


def _complete_model(use: Services, model: ModelChoice, image_size: int) -> ModelChoice:
    try:
        complete = use.families.complete(model, image_size)
    except InvalidRequest as wrong:
        raise wrong.below("#/generator") from wrong
    check_unlabelled(complete.family, takes_labels=use.families.get(complete.family).takes_labels)
    return complete


def _bytes_at_least(use: Services, request: StudyRequest) -> int:
    """What it takes if there are no more classes than counts tell of."""
    dataset = use.jobs.finished(request.dataset)
    result = dataset.result or {}
    names = known_classes(request.classes, result["counts"]) or result["counts"]["label"]
    return study_bytes(
        images=result["images"],
        image_size=dataset.request["image_size"],
        classes=max(FEWEST_CLASSES, len(names)),
        folds=request.folds or 1,
        largest_amount=request.amounts[-1] if request.needs_generators else 0,
        cells=sum(1 for _ in cells_of(request, 1)),
    )


def _artefact(use: Services, resource_id: str, name: str) -> Part:
    """What a study has published at its end, be it the one it was meant to have, a cancel or a failure."""
    check_kind(resource_id, Kind.STUDY)
    status = use.jobs.get(resource_id).status
    if not status.terminal:
        raise WrongState(f"{resource_id} is {status}: wait for its end, or cancel it to see what there is.")
    try:
        return in_file(use.store.folder(resource_id) / name)
    except FileNotFoundError as error:
        raise NotFound(f"{resource_id} ended before it had anything to show.") from error
