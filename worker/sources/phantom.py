"""A source that needs no files: radiographs drawn from a seed, with metadata of the same kind as ChestX-ray14.

The findings can be seen in the pictures, the views differ, and the outliers on its list are what the list says, so
that every filter has something to bite on. See `worker.sources.radiograph` for the drawing.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.sources.base import NO_FINDING, OUTLIER_FLAGS, Source, SourceTable
from worker.sources.radiograph import Radiograph
from worker.sources.terms import Terms

ROWS = 4_000
SEED = 14
LABELS = ("Cardiomegaly", "Effusion", "Infiltration", NO_FINDING, "Nodule")
VIEWS = ("AP", "PA")
SEXES = ("F", "M")
OLDEST = 92
IMPOSSIBLE_AGES = 5
"""Rows that name an age nobody has, as early editions of ChestX-ray14 do; their pictures are those of adults."""
ADULT = 45
OUTLIERS_OF_EACH_FLAG = 20

_PREVALENCE = {
    "PA": {"Cardiomegaly": 0.08, "Effusion": 0.09, "Infiltration": 0.13, "Nodule": 0.13},
    "AP": {"Cardiomegaly": 0.12, "Effusion": 0.21, "Infiltration": 0.23, "Nodule": 0.07},
}
"""Of each finding by itself: about half the pictures have none, some have two. Who lies in bed is sicker."""
_PATIENT_STREAM, _EXPOSURE_STREAM = 1, 2


class Phantom(Source):
    """4,000 pictures of some 1,400 patients, 256 pixels on a side; always the same ones."""

    layout = "phantom"
    terms = Terms(
        licence="Apache-2.0, as RaGAN itself, which draws these images: no patient is in them.",
        citation="None is needed. These are drawings by RaGAN, its built-in source phantom.",
    )

    def __init__(self) -> None:
        self.id = self.layout
        self.table = _table(np.random.default_rng(SEED))

    def image(self, row: int) -> Radiograph:
        table = self.table
        return Radiograph(
            patient=(SEED, _PATIENT_STREAM, int(table.patients[row])),
            exposure=(SEED, _EXPOSURE_STREAM, row),
            age=ADULT if table.impossible_ages[row] else int(table.ages[row]),
            sex=table.sex_names[table.sexes[row]],
            view=table.view_names[table.views[row]],
            findings=table.labels_in(int(table.labels[row])),
            flags=tuple(name for bit, name in enumerate(OUTLIER_FLAGS) if table.flags[row] >> bit & 1),
        )


def _table(draw: Generator) -> SourceTable:
    patients = np.repeat(np.arange(1, ROWS + 1), _visits(draw))[:ROWS]
    first_rows = np.searchsorted(patients, patients)
    visits = np.arange(ROWS) - first_rows
    sexes = (draw.random(ROWS) < 0.56)[first_rows].astype(np.uint8)
    ages = np.clip(50 + 17 * draw.standard_normal(ROWS), 2, OLDEST - 5)[first_rows].astype(np.int16) + visits // 2
    in_bed = draw.random(ROWS) < 0.4
    ages[draw.choice(ROWS, IMPOSSIBLE_AGES, replace=False)] = 414
    return SourceTable(
        files=[f"{patient:05}_{visit:03}.png" for patient, visit in zip(patients, visits, strict=True)],
        patients=patients,
        labels=_findings(in_bed, draw),
        views=np.where(in_bed, VIEWS.index("AP"), VIEWS.index("PA")).astype(np.uint8),
        sexes=sexes,
        ages=ages.astype(np.int16),
        flags=_outliers(draw),
        present=np.ones(ROWS, np.bool_),
        label_names=LABELS,
        view_names=VIEWS,
        sex_names=SEXES,
        flag_names=OUTLIER_FLAGS,
    )


def _visits(draw: Generator) -> NDArray[np.int64]:
    """Pictures of each patient: mostly one or two, sometimes a dozen."""
    return np.minimum(draw.geometric(0.35, ROWS), 12)


def _findings(in_bed: NDArray[np.bool_], draw: Generator) -> NDArray[np.uint64]:
    sets = np.zeros(ROWS, np.uint64)
    for bit, label in enumerate(LABELS):
        if label in _PREVALENCE["PA"]:
            often = np.where(in_bed, _PREVALENCE["AP"][label], _PREVALENCE["PA"][label])
            sets |= np.where(draw.random(ROWS) < often, np.uint64(1 << bit), np.uint64(0))
    return np.where(sets == 0, np.uint64(1 << LABELS.index(NO_FINDING)), sets)


def _outliers(draw: Generator) -> NDArray[np.uint8]:
    flags = np.zeros(ROWS, np.uint8)
    rows = draw.choice(ROWS, (len(OUTLIER_FLAGS), OUTLIERS_OF_EACH_FLAG), replace=False)
    for bit, marked in enumerate(rows):
        flags[marked] = 1 << bit
    return flags
