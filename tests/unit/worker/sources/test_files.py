"""Only plain files are opened, and only those that the folder holds."""

import os
from pathlib import Path

import pytest

from worker.contract.errors import ImageUnreadable, SourceUnreadable
from worker.sources.files import open_plain


def test_a_plain_file_is_opened_where_it_may_lie(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    for within in (None, tmp_path):
        with open_plain(tmp_path / "a", within=within, refusal=ImageUnreadable) as file:
            assert file.read() == b"content"


@pytest.mark.parametrize("way", ["../secret", "link", "folder/link/secret"])
def test_no_way_leads_out_of_the_folder(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    inside = tmp_path / "inside"
    (inside / "folder").mkdir(parents=True)
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder" / "link").symlink_to(Path("..", ".."))
    with pytest.raises(SourceUnreadable, match="leads out of the folder"):
        open_plain(inside / way, within=inside, refusal=SourceUnreadable)


def test_a_folder_whose_name_begins_alike_is_another_one(tmp_path: Path) -> None:
    for name in ("clinic", "clinic-private"):
        (tmp_path / name).mkdir()
    (tmp_path / "clinic-private" / "a").touch()
    (tmp_path / "clinic" / "a").symlink_to(tmp_path / "clinic-private" / "a")
    with pytest.raises(ImageUnreadable, match="leads out"):
        open_plain(tmp_path / "clinic" / "a", within=tmp_path / "clinic", refusal=ImageUnreadable)


def test_what_is_no_file_is_refused_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(ImageUnreadable, match=f"The file {name} is none"):
            open_plain(tmp_path / name, within=tmp_path, refusal=ImageUnreadable)
    with pytest.raises(ImageUnreadable, match="a pipe or a device"):
        open_plain(Path("/dev/zero"), within=None, refusal=ImageUnreadable)


def test_links_in_a_circle_and_files_that_are_absent_are_errors_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        open_plain(tmp_path / "a", within=tmp_path, refusal=ImageUnreadable)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "c", within=tmp_path, refusal=ImageUnreadable)
