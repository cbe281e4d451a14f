"""Checks a choice of model against what the workers have published, and fills in what it leaves out."""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from worker.contract.errors import FamiliesUnpublished, FieldError, InvalidRequest, UnknownFamily
from worker.contract.requests import ModelChoice
from worker.contract.results import FamilyDescription
from worker.contract.store import Store
from worker.sources.names import no_such


class Families:
    """The families that some worker can train, read anew each time since a worker may join with new ones."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, FamilyDescription]:
        """Every family by name; FamiliesUnpublished while there is none."""
        if not (families := self._store.families()):
            raise FamiliesUnpublished(
                "No worker has told yet which families of models it can train: start one (ragan worker --queue train), "
                "or wait some seconds if it is starting."
            )
        return families

    def get(self, name: str) -> FamilyDescription:
        """One family; UnknownFamily, with what there is."""
        families = self.all()
        if name not in families:
            raise UnknownFamily.at("#/model/family", no_such("family", name, families))
        return families[name]

    def complete(self, choice: ModelChoice, image_size: int) -> ModelChoice:
        """The choice with every hyper-parameter; InvalidRequest for values or an image size the family cannot take."""
        family = self.get(choice.family)
        if choice.preset not in family.presets:
            raise InvalidRequest.at("#/model/preset", no_such("preset", choice.preset, family.presets))
        if image_size not in family.image_sizes:
            makes = " or ".join(str(size) for size in family.image_sizes)
            fitting = [name for name, other in self.all().items() if image_size in other.image_sizes]
            instead = f"train {' or '.join(fitting)}" if fitting else "take another family"
            raise InvalidRequest.at(
                "#/model/family",
                f"The dataset's images are {image_size} pixels on a side and {choice.family} makes {makes}: prepare a "
                f"dataset with image_size {makes}, or {instead}.",
            )
        complete = family.presets[choice.preset] | choice.hyperparameters
        found = Draft202012Validator(family.hyperparameters).iter_errors(complete)
        if wrong := [_field_error(each, complete, family.hyperparameters) for each in found]:
            detail = f"{wrong[0].pointer.removeprefix('#/')}: {wrong[0].detail}"
            raise InvalidRequest(detail, errors=wrong)
        return choice.model_copy(update={"hyperparameters": complete})


def _field_error(error: ValidationError, complete: dict[str, Any], schema: dict[str, Any]) -> FieldError:
    path = "/".join(str(part) for part in error.absolute_path)
    pointer = f"#/model/hyperparameters/{path}".rstrip("/")
    if error.validator == "additionalProperties":
        unknown = min(name for name in complete if name not in schema["properties"])
        detail = no_such("hyper-parameter", unknown, schema["properties"])
        return FieldError(pointer=f"{pointer}/{unknown}", detail=detail)
    return FieldError(pointer=pointer, detail=f"{error.message}.")
