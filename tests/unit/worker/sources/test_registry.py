"""The catalog finds what is there, reads it once, and reads it again when it has changed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.contract.errors import SourceUnreadable, UnknownSource
from worker.sources.base import Source
from worker.sources.names import no_such
from worker.sources.registry import SourceCatalog, layouts


def test_layouts_are_found_by_looking() -> None:
    assert [layout.layout for layout in layouts()] == ["arrays", "folders", "nih-cxr14", "phantom", "table"]


def test_every_folder_is_a_source_and_the_phantom_needs_none(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    nih_folder("chests")
    (tmp_path / "sources" / ".hidden").mkdir()
    (tmp_path / "sources" / "a file").touch()
    (tmp_path / "sources" / "two\nlines").mkdir()
    assert SourceCatalog(tmp_path / "sources").ids() == ["chests", "phantom"]
    assert SourceCatalog(tmp_path / "nowhere").ids() == ["phantom"]


def test_a_source_is_opened_once(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    nih_folder("chests")
    catalog = SourceCatalog(tmp_path / "sources")
    opened: list[Source] = []
    threads = [threading.Thread(target=lambda: opened.append(catalog.get("chests"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert len({id(source) for source in opened}) == 1
    assert catalog.get("phantom") is catalog.get("phantom")


def test_a_source_that_changed_is_opened_again(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = nih_folder("chests", 4)
    catalog = SourceCatalog(tmp_path / "sources")
    assert catalog.get("chests").table.present.all()
    (folder / "images" / "00000002_000.png").unlink()
    assert catalog.get("chests").table.present.tolist() == [True, True, False, True]
    (folder / "images_001" / "images").mkdir(parents=True)
    (folder / "images_001" / "images" / "00000002_000.png").touch()
    assert catalog.get("chests").table.present.all()
    metadata = folder / "Data_Entry_2017_v2020.csv"
    metadata.write_text("".join(metadata.read_text().splitlines(keepends=True)[:3]))
    os.utime(metadata, ns=(0, 0))
    assert len(catalog.get("chests").table) == 2
    (folder / "cxr14_bad_labels.csv").write_text(",Index,Inverted,Not frontal,Rotated\n0,00000000_000.png,1,0,0\n")
    assert catalog.get("chests").table.flags.tolist() == [1, 0]


def test_the_summary_counts_what_can_be_filtered(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = nih_folder("chests", 24)
    (folder / "images" / "00000002_000.png").unlink()
    summary = SourceCatalog(tmp_path / "sources").summary("chests")
    assert (summary.layout, summary.rows, summary.images_present, summary.images_missing) == ("nih-cxr14", 24, 23, 1)
    assert summary.problem is None
    assert summary.fields["label"] == {"Effusion": 6, "Infiltration": 12, "No Finding": 6, "Nodule": 6}
    assert set(summary.fields) == {"label", "view", "sex", "age_decade", "flag"}
    assert sum(summary.fields["age_decade"].values()) == 24


def test_a_folder_that_cannot_be_read_is_listed_with_its_problem(
    nih_folder: Callable[..., Path], tmp_path: Path
) -> None:
    nih_folder("chests")
    (tmp_path / "sources" / "holiday").mkdir()
    broken = tmp_path / "sources" / "broken"
    broken.mkdir()
    (broken / "Data_Entry_2017.csv").write_text("not,what,it,was\n")
    catalog = SourceCatalog(tmp_path / "sources")
    problems = {summary.id: summary.problem for summary in catalog.summaries()}
    assert problems["chests"] is None
    assert problems["phantom"] is None
    assert "no layout that RaGAN knows" in str(problems["holiday"])
    assert "no column 'Image Index'" in str(problems["broken"])
    with pytest.raises(SourceUnreadable, match="no layout"):
        catalog.get("holiday")


def test_a_layout_that_takes_nearly_any_folder_is_asked_last(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = nih_folder("chests")
    catalog = SourceCatalog(tmp_path / "sources")
    assert catalog.get("chests").layout == "nih-cxr14"
    (folder / "Data_Entry_2017_v2020.csv").unlink()
    assert catalog.get("chests").layout == "folders"


def test_a_description_names_the_layout(nih_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = nih_folder("chests")
    catalog = SourceCatalog(tmp_path / "sources")
    assert catalog.get("chests").layout == "nih-cxr14"
    (folder / "source.toml").write_text('layout = "folders"')
    assert catalog.get("chests").layout == "folders"
    (folder / "source.toml").write_text('layout = "folder"')
    problem = catalog.summary("chests").problem
    assert problem == (
        "source.toml of chests: layout: There is no layout 'folder'. Did you mean 'folders'? "
        "There is arrays, folders, nih-cxr14, table."
    )


@pytest.mark.parametrize("name", ["chest", "..", "../sources/chests", ""])
def test_an_unknown_source_is_told_what_there_is(nih_folder: Callable[..., Path], tmp_path: Path, name: str) -> None:
    nih_folder("chests")
    with pytest.raises(UnknownSource, match=r"There is no source .*There is chests, phantom\."):
        SourceCatalog(tmp_path / "sources").get(name)


def test_a_mistyped_name_is_met_with_the_nearest() -> None:
    assert no_such("label", "infiltratoin", ["Nodule", "Infiltration"]) == (
        "There is no label 'infiltratoin'. Did you mean 'Infiltration'? There is Infiltration, Nodule."
    )
    assert no_such("view", "x", []) == "There is no view 'x'. There is none at all."
