"""Data cards: what was learnt from, how, what came of it, and how to do it again, told of one evaluation.

A card is rendered when it is asked for: first as Markdown, then, from that, as a page. Labels, names of sources and
licences come from files that people wrote. So all that a template is given is escaped in Markdown, and HTML in Markdown
is text.
"""

import base64
import io
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from PIL import Image

from app.card_facts import CardFacts
from app.measures import AT_FLOOR_IMAGES, FLOOR, MEMORISATION, number

_KEPT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Stands in the page, too, for a copy that somebody keeps: style and pictures are in it, and nothing is run."""
PAGE_POLICY = f"{_KEPT_POLICY}; frame-ancestors 'none'"
"""The Content-Security-Policy that a page is sent with."""
SMALL_PIXELS, TIMES = 64, 3
"""Images up to this size are shown so many times as large, each pixel a square, so that nothing is smoothed over."""
WIDEST = 720
"""Of a picture, in the page's pixels."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$^])")
_LIST_ITEM = re.compile(r"^(\d{0,9})([-=.)])(?=[\s=-]|$)")
"""What would begin a list, or draw a line, where a text stands first on its line."""


def as_markdown(told: CardFacts) -> str:
    """The card in CommonMark with tables; its pictures are links to this service."""
    template = _MARKDOWN.get_template("card.md.jinja")
    return template.render(card=told, number=number, copies=MEMORISATION, floor=FLOOR, at_floor_images=AT_FLOOR_IMAGES)


def as_page(told: CardFacts) -> str:
    """The card as one HTML file with its pictures in it; OSError if one of them cannot be read."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(as_markdown(told))
    small = told.image_size <= SMALL_PIXELS
    files = {picture.address: picture.file for picture in told.pictures}
    for token in (inner for outer in tokens for inner in outer.children or ()):
        if token.type == "image":
            picture = files[str(token.attrs["src"])].read_bytes()
            token.attrs["src"] = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            with Image.open(io.BytesIO(picture)) as opened:
                token.attrs["width"] = min(opened.width * (TIMES if small else 1), WIDEST)
    return _HTML.get_template("card.html.jinja").render(
        title=f"Data card of {told.id}",
        policy=_KEPT_POLICY,
        small=small,
        body=parser.renderer.render(tokens, parser.options, {}),
    )


class _Verbatim(str):
    """What is ours, and Markdown as it is: addresses of pictures, and JSON between fences, of which no line is one."""

    __slots__ = ()


def _escaped(value: Any) -> str:
    """A value as Markdown that shows it on one line and does nothing else."""
    if isinstance(value, _Verbatim):
        return value
    text = "".join(each if each.isprintable() else " " for each in str(value)).strip()
    return _LIST_ITEM.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", text))


_LOADER = PackageLoader("app")
_MARKDOWN = Environment(  # noqa: S701 - it makes no HTML; what it is given is escaped as Markdown
    loader=_LOADER, finalize=_escaped, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_MARKDOWN.filters["verbatim"] = _Verbatim
_HTML = Environment(loader=_LOADER, autoescape=True, undefined=StrictUndefined)
