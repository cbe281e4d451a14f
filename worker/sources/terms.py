"""On what terms a collection may be used, and whom to cite: what its layout knows, or `source.toml` in its folder.

    licence = "CC BY 4.0"
    citation = "J. Yang et al.: MedMNIST v2. Scientific Data 10, 41 (2023)."

Either may be left out. The file takes the place of what the layout knows.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from worker.contract.errors import SourceUnreadable
from worker.sources.files import open_plain

TERMS_FILE = "source.toml"
MAX_BYTES = 65_536

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class Terms(BaseModel):
    """What may be done with the images, and whom to cite for them; None where nobody has said so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: _Text | None = None
    citation: _Text | None = None


def read_terms(folder: Path, usual: Terms) -> Terms:
    """What `source.toml` says, or what is usual if there is none; SourceUnreadable if it makes no sense."""
    path = folder / TERMS_FILE
    if not os.path.lexists(path):
        return usual
    try:
        with open_plain(path, within=folder, refusal=SourceUnreadable) as file:
            return Terms.model_validate(tomllib.loads(file.read(MAX_BYTES).decode()))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise SourceUnreadable(
            f"{TERMS_FILE} of {folder.name}: {field}: {problem['msg']}. It may have `licence` and `citation`, as texts."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise SourceUnreadable(
            f"{TERMS_FILE} of {folder.name} cannot be read ({error}): save it as UTF-8, as TOML."
        ) from error
