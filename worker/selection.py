"""Which rows of a source a request asks for, what took the others, and on which side of the split each falls.

Pure functions of a table and a request, `thumbnails` apart: the dry run in the front end and the job that prepares a
dataset call the same ones. What a seed decides, it decides by a keyed order of rows or patients, not by a random
stream: a higher limit adds to the sample of a lower one, and another filter leaves nearly every patient on its side.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from worker.contract.errors import ImageUnreadable, InvalidRequest, NoUsableImages
from worker.contract.requests import AgeRange, DatasetRequest, Split, Where
from worker.contract.results import AttritionStep, Counts, DatasetResult
from worker.sources.base import SPLITS, Source, SourceTable
from worker.sources.names import refuse, wrong_names
from worker.sources.pixels import encode_png, fit_square, tile

READING_CHECKS = ("colour", "blank", "duplicate")
"""What `exclude` may name besides the source's flags; only a picture that was read can be checked.

`colour`: the channels of the file differ. `blank`: all pixels are equal. `duplicate`: an earlier image of the dataset
has the same pixels, as they are in the file.
"""
ALL_ROWS = "all rows"
FILE_ABSENT = "file absent"
UNUSABLE = "unusable on reading"
STEPS = ("impossible age", "labels", "view", "sex", "age", "flags", FILE_ABSENT, "limit")
"""What takes rows away, in this order."""
THUMBNAIL_PIXELS = 96
THUMBNAIL_COLUMNS = 8

_KEPT = 0
_ROW_ORDER, _PATIENT_ORDER = 0, 1
"""Two orders by one seed, so that whom a limit draws says nothing of who trains."""


@dataclass(frozen=True)
class Selection:
    """The rows kept, in the order of the table; `split` holds for each its index into SPLITS.

    `taken_by` has a value for every row of the table: 0 if it was kept, else 1 + the index of the step in STEPS that
    took it away.
    """

    rows: NDArray[np.int64]
    split: NDArray[np.uint8]
    attrition: tuple[AttritionStep, ...]
    taken_by: NDArray[np.uint8]

    def reason(self, row: int) -> str:
        """The step that took a row of the table away, empty if none did."""
        return "" if self.taken_by[row] == _KEPT else STEPS[self.taken_by[row] - 1]


def select(table: SourceTable, request: DatasetRequest) -> Selection:
    """Apply the steps in their order; `request.source` is not looked at.

    Raises:
        InvalidRequest: the request names labels, views, sexes or flags that the table does not know, or keeps to a
            split of the source where there is none.
    """
    _check_names(table, request)
    if request.split == "source" and table.splits is None:
        raise InvalidRequest.at(
            "#/split", 'This source does not divide its images: give fractions, such as {"train": 0.8, "test": 0.2}.'
        )
    taken_by = np.zeros(len(table), np.uint8)
    attrition = [AttritionStep(step=ALL_ROWS, removed=0, left=len(table))]
    for number, keep in enumerate(_filters(table, request), start=1):
        taken_by[(taken_by == _KEPT) & ~keep] = number
        attrition.append(_step(attrition[-1], STEPS[number - 1], int(np.count_nonzero(taken_by == number))))
    rows = np.flatnonzero(taken_by == _KEPT)
    if request.limit is not None and len(rows) > request.limit:
        drawn = rows[_keyed_order(rows, request.seed, _ROW_ORDER)[: request.limit]]
        taken_by[np.setdiff1d(rows, drawn, assume_unique=True)] = len(STEPS)
        attrition.append(_step(attrition[-1], STEPS[-1], len(rows) - request.limit))
        rows = np.sort(drawn)
    else:
        attrition.append(_step(attrition[-1], STEPS[-1], 0))
    return Selection(rows, _split(table, rows, request), tuple(attrition), taken_by)


def without(selection: Selection, table: SourceTable, request: DatasetRequest, unusable: Sequence[int]) -> Selection:
    """The selection without rows whose picture could not be used; the split is drawn anew over those that are left."""
    rows = np.setdiff1d(selection.rows, np.array(unusable, np.int64), assume_unique=True)
    attrition = (*selection.attrition, _step(selection.attrition[-1], UNUSABLE, len(unusable)))
    return Selection(rows, _split(table, rows, request), attrition, selection.taken_by)


def _split(table: SourceTable, rows: NDArray[np.int64], request: DatasetRequest) -> NDArray[np.uint8]:
    if table.splits is not None and request.split == "source":
        return table.splits[rows]
    return assign_split(table.patients[rows], cast("Split", request.split), request.seed)


def assign_split(patients: NDArray[np.int64], split: Split, seed: int) -> NDArray[np.uint8]:
    """An index into SPLITS for each image, given its patient.

    Patients stand in a keyed order and are dealt out from its start, each to the part in which the middle one of its
    images falls: parts are as large as asked for to within one patient's images, and a patient keeps its side in
    nearly every selection of one seed. The first patient trains, whatever the fractions.
    """
    unique, place, images = np.unique(patients, return_inverse=True, return_counts=True)
    side = np.zeros(len(unique), np.uint8)
    order = _keyed_order(unique, seed, _PATIENT_ORDER)
    ordered = images[order]
    middles = (np.cumsum(ordered) - ordered / 2) / max(len(patients), 1)
    side[order] = np.searchsorted([split.train, split.train + split.validation], middles, side="right")
    side[order[:1]] = SPLITS.index("train")
    return side[place]


def counts(table: SourceTable, selection: Selection) -> Counts:
    """The images kept, by each field; values that none of them has are left out."""
    by_field = {
        field: {name: images for name, images in values.items() if images}
        for field, values in table.counts(selection.rows).items()
    }
    in_split = np.bincount(selection.split, minlength=len(SPLITS)).tolist()
    return Counts(
        label=by_field["label"],
        view=by_field["view"],
        sex=by_field["sex"],
        age_decade=by_field["age_decade"],
        split=dict(zip(SPLITS, in_split, strict=True)),
    )


def summary(source: Source, selection: Selection) -> DatasetResult:
    """A selection as a dataset's result, as far as it is known without its images."""
    table = source.table
    return DatasetResult(
        images=len(selection.rows),
        patients=len(np.unique(table.patients[selection.rows])),
        patients_known=table.names_patients,
        counts=counts(table, selection),
        attrition=selection.attrition,
        licence=source.terms.licence,
        citation=source.terms.citation,
    )


def preview(source: Source, request: DatasetRequest) -> DatasetResult:
    """What a dataset would be, without a look at any image: the dry run."""
    return summary(source, select(source.table, request))


def thumbnails(source: Source, where: Where, count: int, seed: int = 0) -> bytes:
    """A sample of what a filter lets through, drawn by seed, as the PNG of a grid; what cannot be read is left out.

    Raises:
        InvalidRequest: the filter names what the source does not know.
        NoUsableImages: it lets no image through.
    """
    request = DatasetRequest(source=source.id, where=where, exclude=(), limit=count, seed=seed)
    squares = []
    for row in select(source.table, request).rows.tolist():
        with suppress(ImageUnreadable):
            squares.append(fit_square(source.image(row).read(), THUMBNAIL_PIXELS, "pad"))
    if not squares:
        raise NoUsableImages(f"No image of {source.id} matches: widen the filter, or look whether files are there.")
    return encode_png(tile(np.stack(squares), THUMBNAIL_COLUMNS))


def _filters(table: SourceTable, request: DatasetRequest) -> Iterator[NDArray[np.bool_]]:
    """Which rows each of STEPS but the last, the limit, lets through."""
    where = request.where
    flags = [name for name in request.exclude if name in table.flag_names]
    yield ~table.impossible_ages
    yield _match_labels(table, where)
    yield _is_one_of(table.views, where.view, table.view_names)
    yield _is_one_of(table.sexes, where.sex, table.sex_names)
    yield _is_within(table.ages, where.age)
    yield table.flags & _bits(flags, table.flag_names) == 0
    yield table.present


def _match_labels(table: SourceTable, where: Where) -> NDArray[np.bool_]:
    if not where.labels:
        return np.ones(len(table), np.bool_)
    wanted = _bits(where.labels, table.label_names)
    shared = table.labels & wanted
    matches: dict[str, NDArray[np.bool_]] = {
        "exact": table.labels == wanted,
        "any": shared != 0,
        "all": shared == wanted,
    }
    return matches[where.label_match]


def _bits(chosen: Sequence[str], names: tuple[str, ...]) -> int:
    return sum(1 << names.index(name) for name in set(chosen))


def _is_one_of(codes: NDArray[np.uint8], chosen: Sequence[str], names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.array([not chosen or name in chosen for name in names], np.bool_)[codes]


def _is_within(ages: NDArray[np.int16], wanted: AgeRange) -> NDArray[np.bool_]:
    """An unknown age is within no range."""
    if wanted.min is None and wanted.max is None:
        return np.ones(len(ages), np.bool_)
    above = ages >= (wanted.min or 0)
    return above if wanted.max is None else above & (ages <= wanted.max)


def _step(before: AttritionStep, step: str, removed: int) -> AttritionStep:
    return AttritionStep(step=step, removed=removed, left=before.left - removed)


def _check_names(table: SourceTable, request: DatasetRequest) -> None:
    where = request.where
    named = (
        ("#/where/labels", "label", where.labels, table.label_names),
        ("#/where/view", "view", where.view, table.view_names),
        ("#/where/sex", "sex", where.sex, table.sex_names),
        ("#/exclude", "flag", request.exclude, (*table.flag_names, *READING_CHECKS)),
    )
    refuse(chain.from_iterable(wrong_names(*each) for each in named))


def _keyed_order(numbers: NDArray[np.int64], seed: int, purpose: int) -> NDArray[np.int64]:
    """The positions of different numbers in a pseudo-random order (SplitMix64) that is the same on every machine."""
    stream = np.array([2 * seed + purpose + 1], np.uint64)
    key = numbers.astype(np.uint64) + stream * np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(key ^ (key >> np.uint64(31)))
