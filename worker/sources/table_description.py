"""What `source.toml` says of a table: which column is what, and what the texts in it stand for.

    layout = "table"
    table = "metadata.csv"          the CSV file
    images = "images"               optional: the folder that the files are named from; else the source's folder
    labels_separator = ";"          optional: what stands between the findings of an image; else |

    [columns]                       of each, the column's name in the header; all but `file` are optional
    file = "Path"
    patient = "PatientID"
    labels = "Finding"
    view = "View"
    sex = "Sex"
    age = "Age"
    split = "Split"

    [values.sex]                    optional: of labels, view, sex, age and split, what a text stands for
    Male = "M"

An empty cell of `columns.labels` is an image without findings. In place of that column,
`label_columns = ["Edema", "Fracture"]` names one for each finding, with 1 where it is, and 0 or nothing where it is
not. What any other mark in them means is said here, or the table is refused:

    [values.label_columns]
    "-1.0" = "absent"               or "present"
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from worker.sources.classes import LABEL_SEPARATOR
from worker.sources.description import Description, Text

_Path = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f]+$")]
Presence = Literal["present", "absent"]
_Values = Mapping[str, Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Keys):
    """Names in the header."""

    file: Text
    patient: Text | None = None
    labels: Text | None = None
    view: Text | None = None
    sex: Text | None = None
    age: Text | None = None
    split: Text | None = None


class ValueMaps(_Keys):
    """What texts stand for: of findings, of each alone. Texts that are not named stand for themselves."""

    labels: _Values = {}
    view: _Values = {}
    sex: _Values = {}
    age: _Values = {}
    split: _Values = {}
    label_columns: Mapping[str, Presence] = {}


class TableDescription(Description):
    """All that the file may say of a table."""

    layout: Literal["table"]
    table: _Path
    images: _Path = "."
    labels_separator: Annotated[str, StringConstraints(min_length=1, max_length=100)] = LABEL_SEPARATOR
    label_columns: tuple[Text, ...] = ()
    columns: Columns
    values: ValueMaps = ValueMaps()

    @model_validator(mode="after")
    def _findings_are_told_once(self) -> Self:
        if self.label_columns and self.columns.labels is not None:
            raise ValueError("label_columns stands beside columns.labels: name the findings by one of them alone")
        return self

    @model_validator(mode="after")
    def _values_have_their_column(self) -> Self:
        named = {f"columns.{field}" for field, title in self.columns if title is not None}
        if self.label_columns:
            named |= {"columns.labels", "label_columns"}
        for field in sorted(self.values.model_fields_set):
            needed = field if field == "label_columns" else f"columns.{field}"
            if needed not in named:
                raise ValueError(f"values.{field} needs {needed}: name the column there, or leave the values out")
        return self

    def titles(self) -> dict[str, str]:
        """The names of all columns that are needed, by the keys that name them."""
        of_fields = {f"columns.{field}": title for field, title in self.columns if title is not None}
        return of_fields | {f"label_columns.{place}": title for place, title in enumerate(self.label_columns)}
