"""Of a source in whatever state, a whole dataset comes, or a reason, and nothing that is half written."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage import IN_A_PNG, JPEGS, PNGS, TABLES, damaged, damaged_pngs, metadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.contract.errors import NoUsableImages, RaganError, SourceUnreadable
from worker.contract.requests import DatasetRequest
from worker.contract.results import DatasetResult
from worker.dataset import Dataset
from worker.sources.nih_cxr14 import NihCxr14
from worker.stages.prepare import prepare

ROWS = 12

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:Invalid APNG:UserWarning"),  # Pillow's
]


def drawn_source(folder: Path, table: bytes, pictures: list[bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    (folder / "Data_Entry_2017.csv").write_bytes(table)
    for index, picture in enumerate(pictures):
        (folder / "images" / f"{index:08}_000.png").write_bytes(picture)
    return folder


def prepared(folder: Path, context: Any) -> DatasetResult | RaganError:
    request = DatasetRequest(source=folder.name, image_size=8, exclude=("blank", "duplicate", "rotated"))
    try:
        return prepare(request, NihCxr14.open(folder), context)
    except RaganError as refusal:
        return refusal


def check_whole(published: Path, result: DatasetResult) -> None:
    """All files are there and agree, and no cell of the table is a formula."""
    assert {file.name for file in published.iterdir()} == {"images.npy", "items.csv", "contact-sheet.png"}
    dataset = Dataset.open(published)
    assert len(dataset.images) == len(dataset.splits) == len(dataset.labels) == result.images
    assert result.model_dump_json()
    with (published / "items.csv").open(newline="", encoding="utf-8") as file:
        for item in csv.DictReader(file):
            numbers = [item.pop(name) for name in ("patient", "age", "index")]
            assert all(re.fullmatch(r"(-?\d+)?", number) for number in numbers)
            assert not [cell for cell in item.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@settings(
    max_examples=settings().max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    table=st.sampled_from(TABLES) | damaged(TABLES),
    pictures=st.lists(
        st.sampled_from(PNGS) | damaged_pngs() | damaged([*PNGS, *JPEGS], IN_A_PNG), min_size=1, max_size=ROWS
    ),
)
def test_a_dataset_is_whole_or_is_not(
    tmp_path: Path, job_context: Callable[..., Any], tally, table: bytes, pictures: list[bytes]
) -> None:
    context = job_context(prepare_processes=1)
    result = prepared(drawn_source(tmp_path / "source", table, pictures), context)
    published = context.store.folder(context.resource_id)
    if isinstance(result, DatasetResult):
        check_whole(published, result)
        tally["datasets of damaged sources"]["prepared"] += 1
    else:
        assert isinstance(result, SourceUnreadable | NoUsableImages)
        assert not published.exists()
        tally["datasets of damaged sources"]["refused in a sentence"] += 1


def test_formulas_in_metadata_reach_no_table_and_are_still_names_to_filter_by(
    tmp_path: Path, job_context: Callable[..., Any]
) -> None:
    table = metadata(ROWS).replace("00000003_000.png", "=SUM(A1).png").encode()
    folder = drawn_source(tmp_path / "source", table, [PNGS[0]] * ROWS)
    (folder / "images" / "00000003_000.png").rename(folder / "images" / "=SUM(A1).png")
    source = NihCxr14.open(folder)
    assert "+AP" in source.table.view_names
    context = job_context()
    request = DatasetRequest(source="source", where={"view": ["+AP"]}, image_size=8)
    result = prepare(request, source, context)
    published = context.store.folder(context.resource_id)
    check_whole(published, result)
    lines = (published / "items.csv").read_text().splitlines()
    assert lines[4].startswith("'=SUM(A1).png,")
    assert ",'+AP," in lines[2]
    assert json.loads(result.model_dump_json())["counts"]["view"] == {"+AP": result.images}
