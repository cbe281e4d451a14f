"""Text from metadata and requests in the CSV files that RaGAN writes, for people open these in spreadsheets."""

from dataclasses import replace

from worker.sources.base import SourceTable

_FORMULAS_BEGIN_WITH = tuple("=+-@\t\r\n")


def plain_cell(text: str) -> str:
    """The text, with a ' before it if a spreadsheet would run it as a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULAS_BEGIN_WITH) else text


def with_plain_cells(table: SourceTable) -> SourceTable:
    """The table with all its names as cells that no spreadsheet runs."""
    return replace(
        table,
        files=[plain_cell(file) for file in table.files],
        label_names=tuple(map(plain_cell, table.label_names)),
        view_names=tuple(map(plain_cell, table.view_names)),
        sex_names=tuple(map(plain_cell, table.sex_names)),
    )
