"""Any table becomes a source by its description; what is wrong with either is said in a sentence that names the key."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import chest, draw_table
from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.contract.requests import DatasetRequest
from worker.selection import preview, select
from worker.sources.base import IMPOSSIBLE_AGE, UNKNOWN_AGE
from worker.sources.registry import SourceCatalog
from worker.sources.table import Table

HEADER = "Path,PatientID,Finding,View,Sex,Age,Split"
RECORDS = [
    ("a/0.png", "p1", "Effusion; Edema", "Frontal", "Male", "58", "train"),
    ("a/1.jpg", "p1", "none", "Lateral", "Female", "058Y", "valid"),
    ("b/0.png", "p0", "Edema", "Frontal", "?", "", "0"),
]
ALL = """
layout = "table"
licence = "CC BY 4.0"
table = "metadata.csv"
labels_separator = ";"

[columns]
file = "Path"
patient = "PatientID"
labels = "Finding"
view = "View"
sex = "Sex"
age = "Age"
split = "Split"

[values.labels]
none = "No Finding"
[values.view]
Frontal = "PA"
[values.sex]
Male = "M"
Female = "F"
"?" = ""
[values.split]
0 = "test"
"""
FILE_ALONE = 'layout = "table"\ntable = "metadata.csv"\ncolumns.file = "Path"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sources" / "mine"


@pytest.fixture
def drawn(folder: Path) -> Path:
    return draw_table(folder, ALL, HEADER, RECORDS)


def described(folder: Path, description: str, header: str, *records: str) -> Path:
    """A folder with a table of these lines; its pictures are only looked for."""
    folder.mkdir(parents=True)
    (folder / "source.toml").write_text(description)
    (folder / "metadata.csv").write_text("\n".join((header, *records)) + "\n")
    for record in records:
        (folder / record.partition(",")[0]).touch()
    return folder


def labels_of(source: Table) -> list[tuple[str, ...]]:
    return [source.table.labels_in(bits) for bits in source.table.labels.tolist()]


def test_columns_are_what_the_description_says(drawn: Path) -> None:
    source = SourceCatalog(drawn.parent).get("mine")
    assert isinstance(source, Table)
    table = source.table
    assert (source.layout, source.terms.licence, source.terms.citation) == ("table", "CC BY 4.0", None)
    assert table.files == [record[0] for record in RECORDS]
    assert (table.patients.tolist(), table.names_patients) == ([1, 1, 0], True)
    assert labels_of(source) == [("Edema", "Effusion"), ("No Finding",), ("Edema",)]
    assert [table.view_names[view] for view in table.views] == ["PA", "Lateral", "PA"]
    assert [table.sex_names[sex] for sex in table.sexes] == ["M", "F", "unknown"]
    assert table.ages.tolist() == [58, 58, UNKNOWN_AGE]
    assert table.splits is not None
    assert table.splits.tolist() == [0, 1, 2]
    assert table.present.all()
    np.testing.assert_array_equal(source.image(2).read().pixels, chest(2, 40))
    kept = select(table, DatasetRequest(source="mine", split="source", where={"labels": ["Edema"]}))
    assert (kept.rows.tolist(), kept.split.tolist()) == ([2], [2])


def test_only_the_file_is_needed(folder: Path) -> None:
    source = Table.open(described(folder, FILE_ALONE, "Number,Path", "0.png,0.png", "1.png,1.png"))
    assert labels_of(source) == [(), ()]
    assert source.table.counts()["view"] == source.table.counts()["sex"] == {"unknown": 2}
    assert source.table.splits is None
    result = preview(source, DatasetRequest(source="mine"))
    assert (result.patients, result.patients_known) == (2, False)


def test_a_table_of_one_column_is_one(folder: Path) -> None:
    assert Table.open(described(folder, FILE_ALONE, "\ufeffPath", "0.png", " 1.png ".strip())).table.present.all()


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_spreadsheets_make_of_it_is_read_too(drawn: Path, delimiter: str) -> None:
    (drawn / "source.toml").write_text(ALL.replace('";"', '"+"'))
    content = (drawn / "metadata.csv").read_text().replace("; ", "+").replace(",", delimiter)
    (drawn / "metadata.csv").write_text(content, encoding="utf-8-sig")
    assert labels_of(Table.open(drawn))[0] == ("Edema", "Effusion")


def test_findings_may_have_a_column_each(folder: Path) -> None:
    one_hot = FILE_ALONE + 'label_columns = ["No Finding", "Pleural Effusion", "Edema"]\n'
    source = Table.open(
        described(
            folder,
            one_hot + 'values.labels."Pleural Effusion" = "Effusion"\n',
            "Path,No Finding,Edema,Pleural Effusion",
            "0.png,1.0,,",
            "1.png,0,1,1",
            "2.png,,,0.0",
            "3.png,False,TRUE,false",
        )
    )
    assert source.table.label_names == ("Edema", "Effusion", "No Finding")
    assert labels_of(source) == [("No Finding",), ("Edema", "Effusion"), (), ("Edema",)]


@pytest.mark.parametrize(
    ("texts", "patients"),
    [
        (["7", "30805", "7"], [7, 30805, 7]),
        (["007", "7", "7"], [0, 1, 1]),
        (["b", "a", " b "], [1, 0, 1]),
        ([str(2**70), "1", "1"], [1, 0, 0]),
    ],
)
def test_patients_keep_their_numbers_where_all_have_one(folder: Path, texts: list[str], patients: list[int]) -> None:
    lines = [f"{row}.png,{text}" for row, text in enumerate(texts)]
    described(folder, FILE_ALONE + 'columns.patient = "Who"', "Path,Who", *lines)
    assert Table.open(folder).table.patients.tolist() == patients


def test_an_age_that_is_none_is_impossible_unless_the_description_knows_it(folder: Path) -> None:
    description = FILE_ALONE + 'columns.age = "Age"\nvalues.age = {NaN = ""}'
    table = Table.open(described(folder, description, "Path,Age", "0.png,NaN", "1.png,old", "2.png,58.0")).table
    assert table.ages.tolist() == [UNKNOWN_AGE, IMPOSSIBLE_AGE, 58]


def test_files_are_named_from_the_folder_of_images(drawn: Path) -> None:
    (drawn / "pictures").mkdir()
    for inner in ("a", "b"):
        (drawn / inner).rename(drawn / "pictures" / inner)
    with pytest.raises(SourceUnreadable, match=r"None of the 3 files is there, such as 'a/0\.png': .* as `images`"):
        Table.open(drawn)
    (drawn / "source.toml").write_text(f'images = "pictures"\n{ALL}')
    source = Table.open(drawn)
    assert source.table.present.all()
    np.testing.assert_array_equal(source.image(0).read().pixels, chest(0, 40))


def test_a_row_without_a_picture_is_normal(drawn: Path) -> None:
    (drawn / "a" / "1.jpg").unlink()
    with (drawn / "metadata.csv").open("a") as file:
        file.write(",,,,,,\n,,,,,,\nc/none.png,p9,,,,,train\n")
    source = Table.open(drawn)
    assert source.table.present.tolist() == [True, False, True, False, False, False]
    with pytest.raises(ImageUnreadable, match="absent"):
        source.image(1)


@pytest.mark.parametrize(
    "file", ["../secret.png", "a/../../secret.png", "{outside}/secret.png", "a\0b/secret.png", "/"]
)
def test_a_row_cannot_reach_outside_the_folder(folder: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / "sources" / "secret.png").parent.mkdir()
    (tmp_path / "sources" / "secret.png").touch()
    described(folder, FILE_ALONE, "Path", "a.png")
    (folder / "a").mkdir()
    with (folder / "metadata.csv").open("a") as table:
        table.write(file.format(outside=tmp_path / "sources") + "\n")
    assert Table.open(folder).table.present.tolist() == [True, False]


def test_links_within_the_folder_are_followed_and_out_of_it_are_not(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (drawn / "a" / "0.png").rename(tmp_path / "elsewhere" / "0.png")
    (drawn / "a" / "0.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    (drawn / "a" / "1.jpg").unlink()
    (drawn / "a" / "1.jpg").symlink_to(Path("..", "b", "0.png"))
    source = Table.open(drawn)
    with pytest.raises(ImageUnreadable, match="leads out of the folder of its source"):
        source.image(0).read()
    np.testing.assert_array_equal(source.image(1).read().pixels, chest(2, 40))


@pytest.mark.parametrize("name", ["metadata.csv", "a", "pictures"])
def test_the_table_and_folders_may_not_lead_out_either(drawn: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    if name == "pictures":
        (drawn / "source.toml").write_text(f'images = "pictures"\n{ALL}')
    elif name != "a":
        (drawn / name).unlink()
    else:
        (drawn / "a").rename(drawn / "kept")
    (drawn / name).symlink_to(tmp_path / "elsewhere" / "file" if name == "metadata.csv" else tmp_path / "elsewhere")
    with pytest.raises(SourceUnreadable, match="leads out of the folder of its source"):
        Table.open(drawn)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('table = "metadata.csv"', "", "table is missing: add it"),
        ('file = "Path"', "", "columns.file is missing: add it"),
        ('table = "metadata.csv"', 'table = "meta.csv"', "table: There is no file 'meta.csv' in mine: put it there"),
        ('table = "metadata.csv"', 'table = "../metadata.csv"', "There is no file '../metadata.csv'"),
        ('table = "metadata.csv"', 'table = "a\\u0000b"', "table: String should match"),
        ("labels_separator", "label_separator", "There is no key 'label_separator'. Did you mean 'labels_separator'"),
        ("patient =", "patients =", "columns.patients: There is no key 'patients'. Did you mean 'patient'"),
        ("[values.sex]", "[values.gender]", "values.gender: There is no key 'gender'"),
        ('sex = "Sex"', "", "values.sex needs columns.sex: name the column there, or"),
        ('"Sex"', "3", "columns.sex: Input should be a valid string"),
        ('"Sex"', '"sex"', "no column 'sex', which `columns.sex` of source.toml names. Did you mean 'Sex'"),
        ("[columns]", 'label_columns = ["A"]\n[columns]', "label_columns stands beside columns.labels"),
        ('labels = "Finding"', "", "values.labels needs columns.labels"),
        ('0 = "test"', "", "puts images into the part '0': write under .values.split. of source.toml which"),
    ],
)
def test_mistakes_in_the_description_are_told_with_their_key(
    drawn: Path, before: str, after: str, sentence: str
) -> None:
    assert before in ALL
    (drawn / "source.toml").write_text(ALL.replace(before, after))
    with pytest.raises(SourceUnreadable, match=sentence) as refused:
        Table.open(drawn)
    assert refused.value.detail.endswith(".")
    assert "source.toml" in refused.value.detail


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has no column 'Path', which `columns.file` of source.toml names"),
        (HEADER.encode() + b"\na/0.png,p1\n", "ends early in line 2"),
        ("Path,Finding\nJosé,x\n".encode("latin-1"), "is not in UTF-8"),
        (HEADER.encode() + 2 * b"\na/0.png,p1,,,,,train", "names 'a/0.png' in 2 rows: leave one for each image"),
        (HEADER.encode() + b"\na/0.png,,,,,,train\n", "names no patient of 1 images, such as 'a/0.png'"),
        (HEADER.encode() + b"\na/0.png,1,,,,,\n", "names no split of 1 images, .*: fill it in, or leave out `columns"),
        (HEADER.encode() + b"\na/0.png,1," + b";".join(b"f%d" % n for n in range(65)) + b",,,,train", "65 findings"),
    ],
)
def test_mistakes_in_the_table_are_told(drawn: Path, content: bytes, sentence: str) -> None:
    (drawn / "metadata.csv").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=rf"metadata\.csv .*{sentence}"):
        Table.open(drawn)


def test_a_mark_that_is_none_is_told(folder: Path) -> None:
    described(folder, FILE_ALONE + 'label_columns = ["Edema"]', "Path,Edema", "0.png,yes")
    with pytest.raises(SourceUnreadable, match=r"with 'yes' in the column 'Edema': say .* write 1 or 0, or leave"):
        Table.open(folder)


CHEXPERT = FILE_ALONE + 'label_columns = ["No Finding", "Edema"]\n'
CHEXPERT_ROWS = ("Path,No Finding,Edema", "0.png,1.0,", "1.png,,-1.0", "2.png,,1.0")


@pytest.mark.parametrize("mark", ["-1.0", "-1", "0.5", "2", "nan", "inf"])
def test_a_doubt_does_not_become_no_finding_by_itself(folder: Path, mark: str) -> None:
    header, *rows = CHEXPERT_ROWS
    described(folder, CHEXPERT, header, *(row.replace("-1.0", mark) for row in rows))
    with pytest.raises(SourceUnreadable) as refused:
        Table.open(folder)
    assert refused.value.detail == (
        f"metadata.csv marks '1.png', in row 2 below the header, with '{mark}' in the column 'Edema': say under "
        '[values.label_columns] of source.toml whether that is "present" or "absent", write 1 or 0, or leave the '
        "column out of `label_columns`."
    )


@pytest.mark.parametrize(("meant", "findings"), [("present", ("Edema",)), ("absent", ())])
def test_the_description_says_what_a_doubt_means(folder: Path, meant: str, findings: tuple[str, ...]) -> None:
    source = Table.open(described(folder, f'{CHEXPERT}values.label_columns."-1.0" = "{meant}"', *CHEXPERT_ROWS))
    assert labels_of(source) == [("No Finding",), findings, ("Edema",)]


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        (CHEXPERT + 'values.label_columns."-1.0" = "maybe"', r"values\.label_columns\.-1\.0: .*'present' or 'absent'"),
        (FILE_ALONE + 'values.label_columns."-1.0" = "absent"', r"values\.label_columns needs label_columns: name"),
    ],
)
def test_a_meaning_that_is_none_is_told(folder: Path, description: str, sentence: str) -> None:
    with pytest.raises(SourceUnreadable, match=sentence):
        Table.open(described(folder, description, *CHEXPERT_ROWS))


def test_an_empty_cell_is_an_image_without_findings(folder: Path) -> None:
    description = FILE_ALONE + 'columns.labels = "Finding"'
    source = Table.open(described(folder, description, "Path,Finding", "0.png,Edema", "1.png,"))
    assert labels_of(source) == [("Edema",), ()]


def test_a_column_for_each_finding_that_is_not_there_is_told_with_its_place(folder: Path) -> None:
    described(folder, FILE_ALONE + 'label_columns = ["Edema", "Efusion"]', "Path,Edema,Effusion", "0.png,1,0")
    with pytest.raises(SourceUnreadable, match=r"'Efusion', which `label_columns\.1` .* mean 'Effusion'"):
        Table.open(folder)


def test_a_folder_without_a_description_is_no_table(tmp_path: Path) -> None:
    assert not Table.recognises(tmp_path)
    with pytest.raises(SourceUnreadable, match=r"has no source\.toml: write there which column is what"):
        Table.open(tmp_path)


def write(path: Path, before: str, after: str) -> None:
    path.write_text(path.read_text().replace(before, after))


CHANGES: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "the description": (lambda folder: write(folder / "source.toml", '"M"', '"m"'), "table"),
    "the table": (lambda folder: write(folder / "metadata.csv", "p1", "p2"), "table"),
    "a file beside it": (lambda folder: (folder / "new.png").touch(), "table"),
    "another layout": (lambda folder: (folder / "source.toml").write_text('layout = "folders"'), "folders"),
    "no description": (lambda folder: (folder / "source.toml").unlink(), "folders"),
}


@pytest.mark.parametrize(("change", "layout"), CHANGES.values(), ids=CHANGES)
def test_a_change_on_disk_is_noticed(drawn: Path, change: Callable[[Path], Any], layout: str) -> None:
    for path in (drawn, *drawn.rglob("*")):
        os.utime(path, ns=(0, 0))
    catalog = SourceCatalog(drawn.parent)
    opened = catalog.get("mine")
    assert catalog.get("mine") is opened
    change(drawn)
    if layout == "folders":
        (drawn / "new.png").unlink(missing_ok=True)
    assert catalog.get("mine") is not opened
    assert catalog.get("mine").layout == layout


def test_a_description_that_became_wrong_is_told(drawn: Path) -> None:
    catalog = SourceCatalog(drawn.parent)
    assert catalog.summary("mine").problem is None
    (drawn / "source.toml").write_text('layout = "table"\nnonsense')
    assert "cannot be read" in str(catalog.summary("mine").problem)
