"""Whoever keeps a collection says on what terms; what makes no sense is refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from worker.sources.description import DESCRIPTION_FILE
from worker.sources.nih_cxr14 import NIH_TERMS
from worker.sources.registry import SourceCatalog
from worker.sources.terms import Terms, read_terms

USUAL = Terms(licence="as usual")


def test_without_a_file_they_are_the_usual_ones(tmp_path: Path) -> None:
    assert read_terms(tmp_path, USUAL) is USUAL
    assert (USUAL.licence, USUAL.citation) == ("as usual", None)


def test_a_file_takes_their_place(tmp_path: Path) -> None:
    citation = "A. Author: Ein Aufsatz über Röntgenbilder."
    (tmp_path / DESCRIPTION_FILE).write_text(f'citation = "{citation}"', encoding="utf-8")
    assert read_terms(tmp_path, USUAL) == Terms(citation=citation)


def test_a_file_that_says_nothing_of_them_leaves_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION_FILE).write_text('layout = "nih-cxr14"')
    assert read_terms(tmp_path, USUAL) is USUAL


def test_every_layout_tells_its_terms_and_reads_them_again(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    chests = nih_folder("chests")
    (tmp_path / "sources" / "small").mkdir()
    np.save(tmp_path / "sources" / "small" / "images.npy", np.zeros((2, 8, 8), np.uint8))
    catalog = SourceCatalog(tmp_path / "sources")

    def told(source: str) -> tuple[str | None, str | None]:
        summary = catalog.summary(source)
        return summary.licence, summary.citation

    assert told("chests") == (NIH_TERMS.licence, NIH_TERMS.citation)
    assert told("small") == (None, None)
    assert "no patient is in them" in str(told("phantom")[0])
    for folder in (chests, tmp_path / "sources" / "small"):
        (folder / DESCRIPTION_FILE).write_text('licence = "Ours."')
        assert told(folder.name) == ("Ours.", None)
