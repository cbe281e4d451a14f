"""On what terms a collection may be used, and whom to cite: what its layout knows, or `source.toml` in its folder.

Either may be left out there. The file takes the place of what the layout knows once it says one of them.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from worker.sources.description import Description, Text, read_description


class Terms(BaseModel):
    """What may be done with the images, and whom to cite for them; None where nobody has said so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: Text | None = None
    citation: Text | None = None


def read_terms(folder: Path, usual: Terms) -> Terms:
    """What `source.toml` says, or what is usual if it says nothing; SourceUnreadable if it makes no sense."""
    description = read_description(folder, Description)
    return terms_of(description) if description and (description.licence or description.citation) else usual


def terms_of(description: Description) -> Terms:
    """The terms that a description names."""
    return Terms(licence=description.licence, citation=description.citation)
