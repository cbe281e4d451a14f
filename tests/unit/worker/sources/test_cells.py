"""What data holds is text in a spreadsheet, and never a formula."""

from collections.abc import Callable
from pathlib import Path

import pytest

from worker.sources.cells import plain_cell, with_plain_cells
from worker.sources.nih_cxr14 import NihCxr14


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://example.org","x")']
)
def test_a_formula_becomes_text(formula: str) -> None:
    assert plain_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("text", ["", "Effusion|Infiltration", "00000001_000.png", "58", "a=b", "'=1+1", " x"])
def test_other_text_is_kept_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


def test_all_names_of_a_table_are_made_plain_and_nothing_else(nih_folder: Callable[..., Path]) -> None:
    table = NihCxr14.open(nih_folder(rows=[("=a.png", "@Nodule|Mass", 1, "58", "-", "+PA")])).table
    plain = with_plain_cells(table)
    assert (plain.files, plain.label_names) == (["'=a.png"], ("'@Nodule", "Mass"))
    assert (plain.sex_names, plain.view_names) == (("'-",), ("'+PA",))
    assert (plain.ages, plain.patients, plain.labels) == (table.ages, table.patients, table.labels)
