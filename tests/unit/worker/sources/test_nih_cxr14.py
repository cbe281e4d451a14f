"""NIH's folder, as it is published, as it once was, and as it should not be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.sources.base import IMPOSSIBLE_AGE, UNKNOWN_AGE
from worker.sources.nih_cxr14 import NihCxr14
from worker.sources.pixels import encode_png

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
METADATA = "Data_Entry_2017.csv"


def folder_of(path: Path, *records: str, header: str = HEADER, name: str = METADATA) -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_text("\n".join((header, *records)) + "\n")
    return path


def test_a_drawn_folder_reads_as_it_was_drawn(nih_folder: Callable[..., Path]) -> None:
    rows = [
        ("00000001_000.png", "Effusion|Infiltration", 1, "58", "M", "PA"),
        ("00000001_001.png", "No Finding", 1, "59", "M", "AP"),
        ("00000002_000.png", "Infiltration", 2, "20", "F", "PA"),
    ]
    source = NihCxr14.open(nih_folder("small", rows))
    table = source.table
    assert (source.id, source.layout, len(table)) == ("small", "nih-cxr14", 3)
    assert list(table.files) == [row[0] for row in rows]
    assert table.patients.tolist() == [1, 1, 2]
    assert table.ages.tolist() == [58, 59, 20]
    assert table.label_names == ("Effusion", "Infiltration", "No Finding")
    assert [table.labels_in(bits) for bits in table.labels.tolist()] == [tuple(row[1].split("|")) for row in rows]
    assert [table.view_names[view] for view in table.views] == ["PA", "AP", "PA"]
    assert [table.sex_names[sex] for sex in table.sexes] == ["M", "M", "F"]
    assert table.present.all()
    assert not table.flags.any()
    assert source.image(1).read().pixels.shape == (40, 40)


def test_the_rows_of_the_outlier_list_are_taken_together(nih_folder: Callable[..., Path]) -> None:
    outliers = [
        (0, "00000001_000.png", 1.0, 0.0, 0.0),
        (1, "00000001_000.png", 0.0, 0.0, 1.0),
        (2, "00000003_000.png", "", 1, 0),
        (3, "99999999_000.png", 1.0, 1.0, 1.0),
    ]
    table = NihCxr14.open(nih_folder(rows=4, outliers=outliers)).table
    assert table.flag_names == ("inverted", "not_frontal", "rotated")
    assert table.flags.tolist() == [0, 0b101, 0, 0b010]
    assert table.counts()["flag"] == {"inverted": 1, "not_frontal": 1, "rotated": 1}


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("58", 58),
        ("058Y", 58),
        ("013M", 1),
        ("004D", 0),
        ("411D", 1),
        ("060W", 1),
        ("0", 0),
        ("58.0", 58),
        ("414", 414),
        ("414Y", 414),
        ("99999999", 32767),
        ("9" * 5_000, IMPOSSIBLE_AGE),
        ("", UNKNOWN_AGE),
        ("-1", IMPOSSIBLE_AGE),
        ("adult", IMPOSSIBLE_AGE),
    ],
)
def test_ages_of_every_edition(tmp_path: Path, text: str, age: int) -> None:
    folder = folder_of(tmp_path, f"a.png,No Finding,0,1,{text},M,PA")
    assert NihCxr14.open(folder).table.ages.tolist() == [age]


def test_columns_are_found_by_name_and_the_last_edition_counts(tmp_path: Path) -> None:
    folder_of(tmp_path, "old.png,No Finding,0,1,58,M,PA")
    folder_of(
        tmp_path,
        "",
        "PA,F,7,new.png,12,Nodule,x",
        header="\ufeffView Position,Patient Sex,Patient Age,Image Index,Patient ID,Finding Labels,More",
        name="Data_Entry_2017_v2020.csv",
    )
    table = NihCxr14.open(tmp_path).table
    assert (table.files[0], table.patients[0], table.ages[0], table.label_names) == ("new.png", 12, 7, ("Nodule",))


def test_views_and_sexes_that_are_left_blank_are_unknown(tmp_path: Path) -> None:
    table = NihCxr14.open(folder_of(tmp_path, "a.png,,0,1,,,", "b.png,,0,1,,F,PA")).table
    assert (table.view_names, table.sex_names, table.label_names) == (("PA", "unknown"), ("F", "unknown"), ())
    assert table.counts() == {
        "label": {},
        "view": {"PA": 1, "unknown": 1},
        "sex": {"F": 1, "unknown": 1},
        "age_decade": {"unknown": 2},
        "flag": {"inverted": 0, "not_frontal": 0, "rotated": 0},
    }


def test_pictures_may_lie_in_the_folders_of_the_archives_or_nowhere(tmp_path: Path) -> None:
    records = [f"{name}.png,No Finding,0,1,58,M,PA" for name in "abcd"]
    folder_of(tmp_path, *records)
    for place, names in (("images", "a"), ("images_001/images", "b"), ("images_012/images", "ac"), ("images_013", "d")):
        (tmp_path / place).mkdir(parents=True)
        for name in names:
            (tmp_path / place / f"{name}.png").touch()
    source = NihCxr14.open(tmp_path)
    assert source.table.present.tolist() == [True, True, True, False]
    assert source.image(0).path == tmp_path / "images" / "a.png"
    assert source.image(2).path == tmp_path / "images_012" / "images" / "c.png"
    with pytest.raises(ImageUnreadable, match="absent"):
        source.image(3)


def test_a_row_cannot_reach_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").touch()
    (tmp_path / "source" / "images").mkdir(parents=True)
    source = NihCxr14.open(folder_of(tmp_path / "source", "../../secret.png,No Finding,0,1,58,M,PA"))
    assert not source.table.present.any()


def test_links_within_the_folder_are_followed_and_out_of_it_are_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    folder = folder_of(tmp_path / "source", *(f"{name}.png,No Finding,0,1,58,M,PA" for name in "ab"))
    (folder / "kept" / "deep").mkdir(parents=True)
    (folder / "kept" / "deep" / "b.png").write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    (folder / "images").mkdir()
    (folder / "images" / "a.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (folder / "images" / "b.png").symlink_to(Path("..", "kept", "deep", "b.png"))
    (tmp_path / "mounted").symlink_to(folder)  # the folder itself may be a link
    source = NihCxr14.open(tmp_path / "mounted")
    assert source.table.present.all()
    with pytest.raises(ImageUnreadable, match=r"a\.png leads out of the folder of its source"):
        source.image(0).read()
    assert source.image(1).read().pixels.shape == (8, 8)


@pytest.mark.parametrize("name", [METADATA, "cxr14_bad_labels.csv", "images", "images_003/images"])
def test_metadata_and_folders_of_images_may_not_lead_out_either(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path / "source", "a.png,No Finding,0,1,58,M,PA")
    (tmp_path / "elsewhere").mkdir()
    (folder / name).unlink(missing_ok=True)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnreadable, match=r"leads out of the folder of its source"):
        NihCxr14.open(folder)


def test_a_file_whose_name_cannot_be_printed_is_no_metadata(tmp_path: Path) -> None:
    try:
        (tmp_path / "Data_Entry_2017_\udcff.csv").write_text(HEADER)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert not NihCxr14.recognises(tmp_path)


def test_recognises_by_its_metadata(tmp_path: Path) -> None:
    assert not NihCxr14.recognises(tmp_path)
    with pytest.raises(SourceUnreadable, match=r"holds no Data_Entry_2017\*\.csv"):
        NihCxr14.open(tmp_path)
    assert NihCxr14.recognises(folder_of(tmp_path))
    assert len(NihCxr14.open(tmp_path).table) == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no column 'Image Index'"),
        (HEADER.replace("Patient ID", "Patient").encode(), "no column 'Patient ID'"),
        (f"{HEADER}\na.png,No Finding,0,x12,58,M,PA".encode(), "patient id that is not a number: .*x12"),
        (f"{HEADER}\na.png,No Finding,0,{2**70},58,M,PA".encode(), "patient id that is not a number"),
        (
            HEADER.encode() + b"\n" + b"|".join(b"f%d" % n for n in range(65)).join([b"a.png,", b",0,1,58,M,PA"]),
            "65 findings",
        ),
    ],
)
def test_metadata_that_is_not_as_it_should_be_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / METADATA).write_bytes(content)
    with pytest.raises(SourceUnreadable, match=f"{METADATA}.*{sentence}"):
        NihCxr14.open(tmp_path)


def test_an_outlier_list_with_a_strange_mark_is_told_in_a_sentence(nih_folder: Callable[..., Path]) -> None:
    folder = nih_folder(rows=1, outliers=[(0, "00000000_000.png", "yes", 0, 0)])
    with pytest.raises(SourceUnreadable, match="marks an image with 'yes'"):
        NihCxr14.open(folder)


def test_a_change_on_disk_shows_in_what_is_watched(nih_folder: Callable[..., Path]) -> None:
    folder = nih_folder(rows=1)
    watched = set(NihCxr14.watched(folder))
    assert {folder, folder / "images", folder / "Data_Entry_2017_v2020.csv", folder / "cxr14_bad_labels.csv"} <= watched
    assert folder / "images_012" / "images" in watched


def test_the_complete_metadata(shared_data: Path) -> None:
    table = NihCxr14.open(shared_data / "nih-cxr14").table
    assert (len(table), int(table.present.sum()), len(np.unique(table.patients))) == (112_120, 120, 30_805)
    assert int(np.count_nonzero(table.flags)) == 257
    counts = table.counts()
    assert len(counts["label"]) == 15
    assert counts["view"] == {"AP": 44_810, "PA": 67_310}
    assert counts["sex"] == {"F": 48_780, "M": 63_340}
    assert sum(counts["age_decade"].values()) == 112_120
