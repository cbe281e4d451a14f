"""Sources: what images there are to choose from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from app import media
from app.routes.resources import OF_ANY_ADDRESS
from app.services import Use
from worker.contract.errors import InvalidRequest, NotFound, UnknownSource
from worker.contract.requests import Where
from worker.selection import thumbnails
from worker.sources.registry import SourceSummary

router = APIRouter(prefix="/v1/sources", tags=["sources"], responses=OF_ANY_ADDRESS)


class SourceList(BaseModel):
    """Every source, by name."""

    data: list[SourceSummary]


@router.get("", summary="List the sources")
def list_sources(use: Use) -> SourceList:
    """The folders under RAGAN_SOURCES that have a known layout, and `phantom`, which is built in."""
    return SourceList(data=use.sources.summaries())


@router.get("/{source_id}", summary="Look at a source")
def read_source(use: Use, source_id: str) -> SourceSummary:
    """Its rows, the images that are there, and the values and counts of every field that can be filtered on."""
    with _unknown_is_absent():
        return use.sources.summary(source_id)


@router.get(
    "/{source_id}/thumbnails",
    summary="A sample of a source's images",
    response_class=Response,
    responses={200: {"content": {media.PNG: {}}}},
)
def read_thumbnails(
    use: Use,
    source_id: str,
    where: Annotated[str, Query(description='A filter as in a dataset, e.g. {"view": ["AP"]}, as JSON.')] = "{}",
    count: Annotated[int, Query(ge=1, le=256)] = 64,
    seed: Annotated[int, Query(ge=0, le=2**32 - 1)] = 0,
) -> Response:
    """A grid of images that match, as one PNG."""
    try:
        selected = Where.model_validate_json(where)
    except ValidationError as error:
        problem = error.errors()[0]
        field = "/".join(map(str, problem["loc"])) or "`where`"
        raise InvalidRequest.at("?where", f"`where` is not a filter: {field}: {problem['msg']}.") from error
    with _unknown_is_absent():
        source = use.sources.get(source_id)
    return Response(thumbnails(source, selected, count, seed), media_type=media.PNG)


@contextmanager
def _unknown_is_absent() -> Iterator[None]:
    """404 here, where the id is the address; in the body of a request an unknown source is a 422."""
    try:
        yield
    except UnknownSource as error:
        raise NotFound(error.detail) from error
