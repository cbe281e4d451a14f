"""Tables as they are published, as spreadsheets save them, and as they should not be."""

from pathlib import Path

import pytest

from worker.contract.errors import SourceUnreadable
from worker.sources import tables
from worker.sources.tables import read_columns

COLUMNS = (("file", "image"), ("age",))


def read(folder: Path, content: str | bytes, encoding: str = "utf-8") -> list[list[str]]:
    (folder / "table.csv").write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_columns(folder / "table.csv", COLUMNS, within=folder)


@pytest.mark.parametrize(
    "content",
    [
        "age,view,image\n58,PA,a.png\n7,AP,b.png\n",
        "age;view;image\r\n58;PA;a.png\r\n7;AP;b.png\r\n",
        "age\tview\timage\r58\tPA\ta.png\r7\tAP\tb.png",
        '"age","view, or none", image \n\n58,"PA,\nor AP",a.png\n\n\n7,AP,b.png,more\n',
        '"age";"view, as a list, with commas";"file"\n58;;a.png\n7;;b.png\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_found_by_name_whatever_divides_them(tmp_path: Path, content: str, encoding: str) -> None:
    assert read(tmp_path, content, encoding) == [["a.png", "b.png"], ["58", "7"]]


def test_a_table_without_rows_has_empty_columns(tmp_path: Path) -> None:
    assert read(tmp_path, "file,age\n") == [[], []]


def test_many_blank_lines_do_not_end_a_table(tmp_path: Path) -> None:
    assert read(tmp_path, "file,age\na,1\n" + "\n" * 25_000 + "b,2\n") == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no column 'file'"),
        (b"file|age\na|1\n", "no column 'file'"),
        (b"file;years\na;1\n", "no column 'age'"),
        ("file,age\na,1\n".encode("utf-16"), "is not in UTF-8"),
        ("file,age\nJosé,1\n".encode("latin-1"), "is not in UTF-8"),
        (b"file,age\na,1\nb", "ends early in line 3"),
        (b'file,age\na,1\n"b,2\nc,3\n', "no sound CSV file"),
        (b'file,age\na,"1"2\n', "no sound CSV file"),
        (b"file,age\na," + b"1" * 10_001 + b"\n", "a field of 10,001 characters"),
        (b"file,age\na," + b"1" * 200_000 + b"\n", "no sound CSV file .*field"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_in_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(SourceUnreadable, match=rf"table\.csv .*{sentence}"):
        read(tmp_path, content)


def test_a_table_is_read_up_to_its_limits_and_not_beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    assert read(tmp_path, "file,age\n" + "a,1\n" * 3)[0] == ["a"] * 3
    with pytest.raises(SourceUnreadable, match=r"table\.csv has more than 3 rows"):
        read(tmp_path, "file,age\n" + "a,1\n" * 4)
    monkeypatch.setattr(tables, "MAX_BYTES", 20)
    with pytest.raises(SourceUnreadable, match=r"table\.csv has 21 bytes, above the limit of 20"):
        read(tmp_path, "file,age\n" + "a,1\n" * 3)


def test_what_cannot_be_opened_is_told_without_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "table.csv").symlink_to("table.csv")
    with pytest.raises(SourceUnreadable, match=r"table\.csv cannot be read") as raised:
        read_columns(tmp_path / "table.csv", COLUMNS, within=tmp_path)
    assert str(tmp_path) not in raised.value.detail
