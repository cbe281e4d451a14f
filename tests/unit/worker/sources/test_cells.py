"""What data holds is text in a spreadsheet, and never a formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources.cells import plain_cell, text_of


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://example.org","x")']
)
def test_a_formula_becomes_text(formula: str) -> None:
    assert plain_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("text", ["", "Effusion|Infiltration", "00000001_000.png", "58", "a=b", "'", "'a", " x"])
def test_other_text_is_kept_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


def test_what_has_a_mark_of_its_own_gets_another_one() -> None:
    assert plain_cell("'=1+1") == "''=1+1"


@given(st.text() | st.text("'=-\ta"))
def test_the_text_can_be_read_back_and_the_cell_is_no_formula(text: str) -> None:
    cell = plain_cell(text)
    assert text_of(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
