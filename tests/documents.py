"""The repository's documents, taken apart for the tests that hold them true."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """What stands in a fence, and the nearest heading above it."""

    section: str
    language: str
    text: str


@dataclass(frozen=True)
class Table:
    """The cells of a table, as they are written, and the nearest heading above it."""

    section: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def _prose(self) -> str:
        """The text with its fences blanked out, at unchanged positions."""
        return _FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), self.text)

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def links(self) -> list[str]:
        """Where its links and images lead."""
        return _LINK.findall(self._prose)

    @property
    def inline_code(self) -> list[str]:
        return _CODE.findall(self._prose)

    @property
    def anchors(self) -> set[str]:
        """Its headings, as links name them."""
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(self._prose)}

    def blocks(self, language: str, section: str | None = None) -> list[Block]:
        """Its fences in a language, of one section or of all."""
        found = (Block(self._section(fence.start()), fence[1], fence[2]) for fence in _FENCE.finditer(self.text))
        return [block for block in found if block.language == language and section in (None, block.section)]

    def tables(self, first_header: str, section: str | None = None) -> list[Table]:
        """Its tables whose first column has this header, of one section or of all."""
        found = (_table(self._section(match.start()), match[0]) for match in _TABLE.finditer(self._prose))
        return [table for table in found if table.header[0] == first_header and section in (None, table.section)]

    def _section(self, position: int) -> str:
        above = [heading[1] for heading in _HEADING.finditer(self._prose, 0, position)]
        return above[-1] if above else ""


README = Document(ROOT / "README.md")
API = Document(ROOT / "docs" / "api.md")
CONTAINERS = Document(ROOT / "docs" / "containers.md")
DOCUMENTS = (README, *(Document(path) for path in sorted((ROOT / "docs").rglob("*.md"))))


def code(cell: str) -> list[str]:
    """What a cell of a table has in backticks."""
    return _CODE.findall(cell)


def ragan_commands(document: Document) -> Iterator[list[str]]:
    """The arguments of every `ragan …` in its shell blocks and inline code."""
    lines = [line for block in document.blocks("sh") for line in block.text.replace("\\\n", " ").splitlines()]
    for line in [*lines, *document.inline_code]:
        if "ragan" in line:
            yield from filter(None, map(_ragan_arguments, _simple_commands(line)))


def _simple_commands(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _ragan_arguments(words: Sequence[str]) -> list[str]:
    """What follows `ragan`, also as a container's command; [] for another program."""
    if words[0] == "docker" and words[1] in ("run", "exec") and "ragan" in words:
        return list(words[len(words) - words[::-1].index("ragan") :])
    program, *arguments = [word for word in words if not re.match(r"[A-Z_]+=", word)] or [""]
    return arguments if Path(program).name == "ragan" else []


def _table(section: str, text: str) -> Table:
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return Table(section, header, rows)
