"""`source.toml` in the folder of a source: what whoever keeps the collection says of it. It may hold

    licence = "CC BY 4.0"
    citation = "J. Yang et al.: MedMNIST v2. Scientific Data 10, 41 (2023)."
    layout = "folders"

and what a layout has beside that. Without `layout`, the layout is told by what is in the folder.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from worker.contract.errors import SourceUnreadable
from worker.sources.files import open_plain
from worker.sources.names import no_such

DESCRIPTION_FILE = "source.toml"
MAX_BYTES = 65_536

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class Description(BaseModel):
    """What the file may say of a source of any layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: Text | None = None
    citation: Text | None = None
    layout: Text | None = None


Described = TypeVar("Described", bound=Description)


def read_description(folder: Path, kind: type[Described]) -> Described | None:
    """What the file says, None if there is none; SourceUnreadable, naming the key, if it makes no sense."""
    if (content := _content(folder)) is None:
        return None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise wrong_description(folder, _told(error, kind)) from error


def declared_layout(folder: Path) -> str | None:
    """The layout that the file names, whatever else is in it; SourceUnreadable if it makes no sense."""
    content = _content(folder) or {}
    common = {name: content[name] for name in Description.model_fields if name in content}
    try:
        return Description.model_validate(common).layout
    except ValidationError as error:
        raise wrong_description(folder, _told(error, Description)) from error


def wrong_description(folder: Path, what: str) -> SourceUnreadable:
    """The error for what is wrong with the file: a key, such as `columns.patient`, and a sentence."""
    return SourceUnreadable(f"{DESCRIPTION_FILE} of {folder.name}: {what}")


def _content(folder: Path) -> dict[str, Any] | None:
    path = folder / DESCRIPTION_FILE
    if not os.path.lexists(path):
        return None
    try:
        with open_plain(path, within=folder, refusal=SourceUnreadable) as file:
            return tomllib.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceUnreadable(
            f"{DESCRIPTION_FILE} of {folder.name} cannot be read ({error}): save it as UTF-8, as TOML."
        ) from error


def _told(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first key that is wrong, with dots between its parts, and what is wrong with it."""
    problem = error.errors()[0]
    *outer, name = map(str, problem["loc"] or ("",))
    key = ".".join([*outer, name])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: {no_such('key', name, _keys_at(kind, outer))}"
        case "missing":
            return f"{key} is missing: add it."
        case "value_error":
            return f"{problem['ctx']['error']}."
        case _:
            return f"{key}: {problem['msg']}."


def _keys_at(kind: Any, path: list[str]) -> list[str]:
    """The keys that a description may have there; only other models have keys of their own."""
    for name in path:
        kind = kind.model_fields[name].annotation
    return list(kind.model_fields)
