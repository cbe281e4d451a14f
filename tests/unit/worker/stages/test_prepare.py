"""A dataset from end to end: what is kept, what is left out and why, and what is published."""

import csv
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawn import draw_class_folders
from worker.context import StopRequested
from worker.contract.errors import InvalidRequest, NoUsableImages
from worker.contract.requests import DatasetRequest
from worker.contract.results import AttritionStep, DatasetResult
from worker.dataset import Dataset
from worker.selection import preview
from worker.sources.folders import Folders
from worker.sources.image_files import ImageFile
from worker.sources.nih_cxr14 import NIH_TERMS, NihCxr14
from worker.sources.pixels import PngFile, fit_square
from worker.stages.prepare import CONTACT_SHEET, SKIPPED_LISTED, WORTH_PROCESSES, prepare


def items_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "items.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, context: Any, **request: Any) -> tuple[DatasetResult, Path]:
    asked = DatasetRequest(**{"source": folder.name, "image_size": 16} | request)
    return prepare(asked, NihCxr14.open(folder), context), context.store.folder(context.resource_id)


def test_the_selected_images_become_one_array_in_the_order_of_the_rows(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=24)
    (folder / "images" / "00000006_000.png").unlink()
    context = job_context()
    where = {"labels": ["Infiltration"], "label_match": "any"}
    result, published = run(folder, context, where=where)

    names = [f"{index:08}_000.png" for index in range(24) if index % 4 in (1, 2) and index != 6]
    dataset = Dataset.open(published)
    assert dataset.images.shape == (11, 16, 16)
    for name, image in zip(names, dataset.images, strict=True):
        np.testing.assert_array_equal(image, fit_square(PngFile(folder / "images" / name).read(), 16, "pad"))

    expected = preview(NihCxr14.open(folder), DatasetRequest(source="small", image_size=16, where=where))
    assert result.attrition == (
        *expected.attrition,
        AttritionStep(step="unusable on reading", removed=0, left=11),
    )
    assert (result.images, result.patients, result.counts) == (11, expected.patients, expected.counts)
    assert result.licence == expected.licence == NIH_TERMS.licence
    assert result.citation == expected.citation == NIH_TERMS.citation
    assert result.skipped
    assert result.skipped.total == 0
    assert result.bytes == (published / "images.npy").stat().st_size
    assert result.sha256 == hashlib.sha256((published / "images.npy").read_bytes()).hexdigest()

    items = items_of(published)
    assert [item["file"] for item in items if item["index"]] == names
    assert [item["index"] for item in items if item["index"]] == [str(index) for index in range(11)]
    assert items[6]["excluded"] == "file absent"
    assert items[0]["excluded"] == "labels"
    with Image.open(published / CONTACT_SHEET) as sheet:
        assert sheet.size == (8 * 16 + 7 * 2, 2 * 16 + 2)
    assert list(context.scratch.iterdir()) == []
    done = [(report.phase, report.done, report.total, report.unit) for report in context.reporter.reports]
    assert done[0] == ("prepare", 0, 11, "images")
    assert done[-1] == ("prepare", 11, 11, "images")


def test_class_folders_become_a_dataset_that_keeps_to_their_parts(
    tmp_path: Path, job_context: Callable[..., Any]
) -> None:
    folder = draw_class_folders(tmp_path / "mine", {"train/A": 3, "train/B": 2, "val/A": 1, "test/B": 2})
    source, context = Folders.open(folder), job_context(prepare_processes=2)
    result = prepare(DatasetRequest(source="mine", image_size=16, split="source"), source, context)
    dataset = Dataset.open(context.store.folder(context.resource_id))
    assert (result.images, result.patients, result.patients_known) == (8, 8, False)
    assert result.counts.split == {"train": 5, "validation": 1, "test": 2}
    assert dataset.labels == (*3 * [("A",)], *2 * [("B",)], ("A",), *2 * [("B",)])
    for file, image in zip(source.table.files, dataset.images, strict=True):
        np.testing.assert_array_equal(image, fit_square(ImageFile(folder / file, folder).read(), 16, "pad"))


def test_the_number_of_processes_changes_nothing(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=WORTH_PROCESSES + 20)
    for broken in (3, 40):
        (folder / "images" / f"{broken:08}_000.png").write_bytes(b"")
    one, first = run(folder, job_context(prepare_processes=1))
    two, second = run(folder, job_context(prepare_processes=2))
    assert one == two
    assert one.images == WORTH_PROCESSES + 18
    for name in ("images.npy", "items.csv", CONTACT_SHEET):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_cannot_be_used_is_left_out_listed_and_counted(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=12)
    images = folder / "images"
    whole = (images / "00000001_000.png").read_bytes()
    (images / "00000001_000.png").write_bytes(whole[:-200])
    (images / "00000002_000.png").write_text("a letter")
    Image.new("RGB", (40, 40), (90, 80, 70)).save(images / "00000003_000.png")
    Image.new("L", (40, 40), 9).save(images / "00000004_000.png")
    (images / "00000006_000.png").write_bytes((images / "00000005_000.png").read_bytes())
    with Image.open(images / "00000007_000.png") as grey:
        rgba = grey.convert("RGBA")
    rgba.save(images / "00000007_000.png")

    lenient, _ = run(folder, job_context(), exclude=[])
    assert lenient.images == 10
    result, published = run(folder, job_context(), exclude=["colour", "blank", "duplicate", "rotated"])
    assert result.images == 7
    assert result.attrition[-1] == AttritionStep(step="unusable on reading", removed=5, left=7)
    assert result.skipped
    reasons = {item.file[:8]: item.reason for item in result.skipped.items}
    assert list(reasons) == ["00000001", "00000002", "00000003", "00000004", "00000006"]
    for file, reason in zip(reasons, ("damaged", "not a PNG", "colour", "blank", "00000005_000.png"), strict=True):
        assert reason in reasons[file]
    assert {item["file"][:8]: item["excluded"] for item in items_of(published) if item["excluded"]} == reasons


def test_the_list_of_skipped_images_is_capped_and_its_total_is_not(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=SKIPPED_LISTED + 11)
    for name in sorted((folder / "images").iterdir())[1:]:
        name.write_bytes(b"")
    result, _ = run(folder, job_context(prepare_processes=1))
    assert (result.images, result.counts.split["train"]) == (1, 1)
    assert result.skipped
    assert (result.skipped.total, len(result.skipped.items)) == (SKIPPED_LISTED + 10, SKIPPED_LISTED)


def test_crop_takes_the_centre_where_pad_adds_black(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=1)
    Image.new("L", (20, 40), 200).save(folder / "images" / "00000000_000.png")
    _, padded = run(folder, job_context())
    _, cropped = run(folder, job_context(), fit="crop")
    assert Dataset.open(padded).images[0, :, 0].tolist() == [0] * 16
    assert (Dataset.open(cropped).images == 200).all()


@pytest.mark.parametrize(
    ("request_of", "sentence"),
    [
        ({"where": {"labels": ["Nodule", "Infiltration"]}}, "after the step 'labels', which took the last 12 rows"),
        ({"where": {"sex": ["M"], "age": {"min": 110}}}, "after the step 'age'"),
    ],
)
def test_a_selection_of_nothing_says_what_took_it(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any], request_of: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NoUsableImages, match=sentence):
        run(nih_folder(rows=12), job_context(), **request_of)


def test_a_source_without_rows_says_so(nih_folder: Callable[..., Path], job_context: Callable[..., Any]) -> None:
    with pytest.raises(NoUsableImages, match="has no rows at all"):
        run(nih_folder(rows=0), job_context())


def test_a_file_that_is_listed_twice_is_a_duplicate(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=3)
    metadata = folder / "Data_Entry_2017_v2020.csv"
    metadata.write_text(metadata.read_text() + metadata.read_text().splitlines()[-1] + "\n")
    result, _ = run(folder, job_context(), exclude=["duplicate"])
    assert result.skipped
    assert [item.reason for item in result.skipped.items] == [
        "It is a duplicate: its pixels are those of 00000002_000.png."
    ]


def test_metadata_without_images_says_where_to_put_them(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=3)
    for image in (folder / "images").iterdir():
        image.unlink()
    with pytest.raises(NoUsableImages, match="put the image files into the source's folder"):
        run(folder, job_context())


def test_images_that_are_all_unusable_are_a_failure_with_a_reason(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    folder = nih_folder(rows=3)
    for image in (folder / "images").iterdir():
        image.write_text("gone")
    context = job_context()
    with pytest.raises(NoUsableImages, match=r"None of the 3 selected .* 00000000_000\.png .* not a PNG"):
        run(folder, context)
    assert not context.store.folder(context.resource_id).exists()


def test_unknown_names_fail_before_anything_is_read(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidRequest, match="no label 'Gout'"):
        run(nih_folder(rows=3), job_context(), where={"labels": ["Gout"]})


def test_a_stop_leaves_nothing_behind(nih_folder: Callable[..., Path], job_context: Callable[..., Any]) -> None:
    context = job_context(stop_after=1, prepare_processes=1)
    with pytest.raises(StopRequested):
        run(nih_folder(rows=WORTH_PROCESSES), context)
    assert not context.store.folder(context.resource_id).exists()


def test_the_room_for_the_array_is_asked_for_before_the_work(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    context = job_context(prepare_processes=1)
    run(nih_folder(rows=24), context)
    assert context.needed_bytes == 24 * 16**2


def test_the_contact_sheet_of_many_large_images_stays_one_to_look_at(
    nih_folder: Callable[..., Path], job_context: Callable[..., Any]
) -> None:
    _, published = run(nih_folder(rows=70, size=20), job_context(prepare_processes=1), image_size=200)
    with Image.open(io.BytesIO((published / CONTACT_SHEET).read_bytes())) as sheet:
        assert sheet.size == (8 * 128 + 7 * 2, 8 * 128 + 7 * 2)


def test_real_files_with_their_two_in_colour_modes(shared_data: Path, job_context: Callable[..., Any]) -> None:
    source = NihCxr14.open(shared_data / "nih-cxr14")
    context = job_context(prepare_processes=1)
    result = prepare(DatasetRequest(source="nih-cxr14", exclude=["colour", "blank"], image_size=28), source, context)
    assert result.images == 120
    assert result.attrition[-1].removed == 0
    images = Dataset.open(context.store.folder(context.resource_id)).images
    assert 60 < images.mean() < 180
