"""Whoever keeps a collection says on what terms; what makes no sense is refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worker.contract.errors import SourceUnreadable
from worker.sources.nih_cxr14 import NIH_TERMS
from worker.sources.registry import SourceCatalog
from worker.sources.terms import MAX_BYTES, TERMS_FILE, Terms, read_terms

USUAL = Terms(licence="as usual")


def test_without_a_file_they_are_the_usual_ones(tmp_path: Path) -> None:
    assert read_terms(tmp_path, USUAL) is USUAL
    assert (USUAL.licence, USUAL.citation) == ("as usual", None)


def test_a_file_takes_their_place(tmp_path: Path) -> None:
    (tmp_path / TERMS_FILE).write_text('citation = "A. Author: Ein Aufsatz über Röntgenbilder."\n', encoding="utf-8")
    assert read_terms(tmp_path, USUAL) == Terms(citation="A. Author: Ein Aufsatz über Röntgenbilder.")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"licence = ", "cannot be read"),
        (b'licence = "\xff"', "as UTF-8"),
        (b"a = " + b"[" * 10_000, "cannot be read"),
        (b'license = "MIT"', "license: Extra inputs"),
        (b"licence = 4", "licence: Input should be a valid string"),
        (b'licence = "  "', "It may have `licence` and `citation`"),
        (b'citation = "' + b"x" * MAX_BYTES, "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / TERMS_FILE).write_bytes(content)
    with pytest.raises(SourceUnreadable, match=sentence) as refused:
        read_terms(tmp_path, USUAL)
    assert refused.value.detail.startswith(f"{TERMS_FILE} of {tmp_path.name}")
    assert len(refused.value.detail) < 400


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.toml").write_text('licence = "secret"')
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / TERMS_FILE).symlink_to(tmp_path / "outside.toml")
    with pytest.raises(SourceUnreadable, match="leads out of the folder"):
        read_terms(tmp_path / "source", USUAL)


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
        (folder / TERMS_FILE).write_text('licence = "Ours."')
        assert told(folder.name) == ("Ours.", None)
