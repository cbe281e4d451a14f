"""Text from metadata and requests in the CSV files that RaGAN writes, for people open these in spreadsheets."""

_FORMULAS_BEGIN_WITH = tuple("=+-@\t\r\n")
_MARK = "'"
"""Spreadsheets take a cell that begins with it for text."""


def plain_cell(text: str) -> str:
    """The text, with a ' before it if a spreadsheet would run it as a formula (OWASP, CSV injection).

    What would be one without the marks it begins with gets one more, so that `text_of` knows which is ours.
    """
    return _MARK + text if _is_formula(text) else text


def text_of(cell: str) -> str:
    """The text that `plain_cell` has made a cell of."""
    return cell.removeprefix(_MARK) if _is_formula(cell) else cell


def _is_formula(text: str) -> bool:
    return text.lstrip(_MARK).startswith(_FORMULAS_BEGIN_WITH)
