"""However metadata is damaged, a source is opened and can be asked, or refused in a sentence."""

from pathlib import Path

import pytest
from damage import TABLES, damaged
from hypothesis import given, settings

from worker.contract.errors import SourceUnreadable
from worker.contract.requests import AgeRange, DatasetRequest, Where
from worker.selection import preview
from worker.sources.nih_cxr14 import NihCxr14
from worker.sources.registry import summarise

EXAMPLES = 6 * settings().max_examples
OUTLIERS = [
    b",Index,Inverted,Not frontal,Rotated\n0,00000001_000.png,1.0,0,0\n1,00000003_000.png,,1,nan\n",
    b"\xef\xbb\xbfIndex;Inverted;Not frontal;Rotated\r\n00000002_000.png;0;0;1e400\r\n",
]

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source whose tables each example in its turn becomes; its pictures are only looked for, not read."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "images").mkdir()
    for index in range(12):
        (folder / "images" / f"{index:08}_000.png").touch()
    return folder


def opened(folder: Path) -> NihCxr14 | SourceUnreadable:
    try:
        return NihCxr14.open(folder)
    except SourceUnreadable as refusal:
        return refusal


def outcome(folder: Path, metadata: bytes, outliers: bytes = OUTLIERS[0]) -> str:
    """Open a source and ask it all that clients ask; the answers are such as JSON can hold."""
    (folder / "Data_Entry_2017.csv").write_bytes(metadata)
    (folder / "cxr14_bad_labels.csv").write_bytes(outliers)
    source = opened(folder)
    if isinstance(source, SourceUnreadable):
        assert source.detail.endswith(".")
        return "refused in a sentence"
    assert summarise(source).model_dump_json()
    everything = preview(source, DatasetRequest(source=source.id))
    where = Where(labels=source.table.label_names[:1], label_match="any", age=AgeRange(min=20, max=70))
    some = preview(source, DatasetRequest(source=source.id, where=where, limit=3))
    assert some.images <= everything.images <= len(source.table)
    assert everything.model_dump_json()
    return "read"


@pytest.mark.parametrize("whole", [table for table in TABLES if b"\0" not in table])
def test_before_it_is_damaged_it_can_be_read(folder: Path, whole: bytes) -> None:
    assert outcome(folder, whole) == "read"


@settings(max_examples=EXAMPLES)
@given(content=damaged(TABLES))
def test_damaged_metadata_is_read_or_refused(folder: Path, tally, content: bytes) -> None:
    tally["damaged metadata"][outcome(folder, content)] += 1


@settings(max_examples=EXAMPLES // 3)
@given(content=damaged(OUTLIERS))
def test_a_damaged_list_of_outliers_is_read_or_refused(folder: Path, tally, content: bytes) -> None:
    tally["damaged lists of outliers"][outcome(folder, TABLES[0], content)] += 1
