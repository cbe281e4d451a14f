"""Whoever keeps a collection describes it; what makes no sense is refused in a sentence that names the key."""

from pathlib import Path

import pytest

from worker.contract.errors import SourceUnreadable
from worker.sources.description import (
    DESCRIPTION_FILE,
    MAX_BYTES,
    Description,
    declared_layout,
    read_description,
)


def test_what_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_description(tmp_path, Description) is None
    assert declared_layout(tmp_path) is None


def test_a_file_is_read_with_a_byte_order_mark_or_without(tmp_path: Path) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / DESCRIPTION_FILE).write_text(f'{mark}licence = "MIT"\nlayout = " folders "\n', encoding="utf-8")
        assert read_description(tmp_path, Description) == Description(licence="MIT", layout="folders")
        assert declared_layout(tmp_path) == "folders"


def test_the_layout_can_be_told_whatever_else_there_is(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION_FILE).write_text('layout = "table"\nnobody = "knows"\n')
    assert declared_layout(tmp_path) == "table"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"licence = ", "cannot be read"),
        (b'licence = "\xff"', "as UTF-8"),
        (b"a = " + b"[" * 10_000, "cannot be read"),
        (b'license = "MIT"', "license: There is no key 'license'. Did you mean 'licence'\\? There is citation, l"),
        (b"licence = 4", "licence: Input should be a valid string"),
        (b'licence = "  "', "licence: String should have at least 1 character"),
        (b'citation = "' + b"x" * MAX_BYTES, "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / DESCRIPTION_FILE).write_bytes(content)
    with pytest.raises(SourceUnreadable, match=sentence) as refused:
        read_description(tmp_path, Description)
    assert refused.value.detail.startswith(f"{DESCRIPTION_FILE} of {tmp_path.name}")
    assert len(refused.value.detail) < 400


@pytest.mark.parametrize("content", ["layout = 3", "layout = [", 'layout = ""'])
def test_a_layout_that_makes_no_sense_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / DESCRIPTION_FILE).write_text(content)
    with pytest.raises(SourceUnreadable, match=f"^{DESCRIPTION_FILE} of {tmp_path.name}"):
        declared_layout(tmp_path)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.toml").write_text('licence = "secret"')
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / DESCRIPTION_FILE).symlink_to(tmp_path / "outside.toml")
    with pytest.raises(SourceUnreadable, match="leads out of the folder"):
        read_description(tmp_path / "source", Description)
