"""Models: the families that can be trained."""

from fastapi import APIRouter
from pydantic import BaseModel

from app.routes.resources import OF_ANY_ADDRESS, PROBLEMS
from app.services import Use
from worker.contract.errors import NotFound
from worker.contract.results import FamilyDescription

router = APIRouter(prefix="/v1/models", tags=["models"], responses=OF_ANY_ADDRESS | {503: PROBLEMS[503]})


class FamilyList(BaseModel):
    """Every family that some worker has published."""

    data: list[FamilyDescription]


@router.get("", summary="List the families", response_model=FamilyList)
def list_models(use: Use) -> FamilyList:
    """Built-in families and those that were dropped in, by name."""
    families = use.families.all()
    return FamilyList(data=[families[name] for name in sorted(families)])


@router.get("/{family}", summary="Look at a family")
def read_model(use: Use, family: str) -> FamilyDescription:
    """What it makes, its size, its presets, and the JSON Schema of its hyper-parameters."""
    families = use.families.all()
    if family not in families:
        raise NotFound(f"There is no family {family!r}; GET /v1/models lists them.")
    return families[family]
