"""However a description, its table or a tree of folders is damaged, the source can be asked, or is refused."""

import shutil
from pathlib import Path

import pytest
from damage import JPEGS, PNGS, TABLES, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.errors import SourceUnreadable
from worker.contract.requests import AgeRange, DatasetRequest, Where
from worker.selection import preview
from worker.sources.registry import SourceCatalog, summarise

EXAMPLES = 3 * settings().max_examples
DESCRIPTIONS = [
    b"""layout = "table"
licence = "CC BY 4.0"
table = "metadata.csv"
images = "images"
labels_separator = "|"
[columns]
file = "Image Index"
patient = "Patient ID"
labels = "Finding Labels"
view = "View Position"
sex = "Patient Gender"
age = "Patient Age"
[values.sex]
M = "male"
""",
    b"""layout = "table"
table = "metadata.csv"
images = "images"
label_columns = ["Follow-up #"]
columns.file = "Image Index"
columns.split = "Patient Gender"
values.split = {M = "train", F = "test"}
values.label_columns = {"-1.0" = "absent"}
""",
    b'layout = "folders"\ncitation = "A. Author"\n',
]
NAMES = ("train", "val", "test", "Train", "A", "a", "B|C", "__MACOSX", ".hidden", "0.png", "1.jpeg", "notes.txt")

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source whose files each example in its turn becomes; its pictures are only looked for, not read."""
    folder = tmp_path_factory.mktemp("sources") / "damaged"
    (folder / "images").mkdir(parents=True)
    for index in range(12):
        (folder / "images" / f"{index:08}_000.png").touch()
    return folder


def outcome(folder: Path) -> str:
    """Open a source and ask it all that clients ask; the answers are such as JSON can hold."""
    catalog = SourceCatalog(folder.parent)
    if (problem := catalog.summary(folder.name).problem) is not None:
        assert problem.endswith(".")
        with pytest.raises(SourceUnreadable):
            catalog.get(folder.name)
        return "refused in a sentence"
    source = catalog.get(folder.name)
    assert summarise(source).model_dump_json()
    everything = preview(source, DatasetRequest(source=source.id))
    where = Where(labels=source.table.label_names[:1], label_match="any", age=AgeRange(min=20, max=70))
    assert preview(source, DatasetRequest(source=source.id, where=where, limit=3)).images <= everything.images
    assert everything.model_dump_json()
    return "read"


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_before_they_are_damaged_they_can_be_read(folder: Path, description: bytes) -> None:
    (folder / "source.toml").write_bytes(description)
    (folder / "metadata.csv").write_bytes(TABLES[0])
    assert outcome(folder) == "read"


@settings(max_examples=EXAMPLES)
@given(description=damaged(DESCRIPTIONS))
def test_a_damaged_description_is_read_or_refused(folder: Path, tally, description: bytes) -> None:
    (folder / "source.toml").write_bytes(description)
    (folder / "metadata.csv").write_bytes(TABLES[0])
    tally["damaged descriptions"][outcome(folder)] += 1


@settings(max_examples=EXAMPLES)
@given(description=st.sampled_from(DESCRIPTIONS[:2]), table=damaged(TABLES))
def test_a_damaged_table_is_read_or_refused(folder: Path, tally, description: bytes, table: bytes) -> None:
    (folder / "source.toml").write_bytes(description)
    (folder / "metadata.csv").write_bytes(table)
    tally["damaged tables"][outcome(folder)] += 1


PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)


@settings(max_examples=EXAMPLES)
@given(paths=st.lists(PATHS, max_size=12), links=st.dictionaries(PATHS, PATHS, max_size=2))
def test_any_tree_of_folders_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tally, paths: list[str], links: dict[str, str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "trees" / "any"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in paths:
        place = folder / path
        if not any(parent.is_file() for parent in place.parents) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((PNGS[0], JPEGS[0])[len(path) % 2])
    for link, target in links.items():
        place = folder / link
        if place.parent.is_dir() and not place.exists():
            place.symlink_to(folder / target)
    tally["trees of folders"][outcome(folder)] += 1
