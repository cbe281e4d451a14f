import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import archives
from app.archives import Archive
from app.parts import Part, in_file, in_memory, read, total_size

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=12)
contents = st.dictionaries(names, st.binary(max_size=300), max_size=8)


def sent(parts: list[Part], wanted: range | None = None) -> bytes:
    return b"".join(read(parts, range(total_size(parts)) if wanted is None else wanted))


def as_zip(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def stored(folder, name: str, files: dict[str, bytes]):
    """An archive as a worker leaves it."""
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in files.items():
            archive.writestr(zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0)), content)
    return path


@pytest.fixture
def shards(tmp_path):
    """Three archives of some files each, and all their files."""
    files = {f"{index:06d}.png": bytes([index]) * (index % 7) for index in range(30)}
    parts = [dict(list(files.items())[start : start + 10]) for start in (0, 10, 20)]
    return [stored(tmp_path, f"{number}.zip", part) for number, part in enumerate(parts)], files


def laid_out(shards) -> Archive:
    archive = Archive()
    for path in shards[0]:
        archive.add_all_of(path)
    archive.add("labels.csv", [in_memory(b"file,"), in_memory(b"labels\n")])
    archive.add("empty", [])
    return archive


@given(contents)
def test_what_was_added_is_there(files):
    archive = Archive()
    for name, content in files.items():
        archive.add(name, [in_memory(content)])
    read_back = as_zip(sent(archive.parts()))
    assert {name: read_back.read(name) for name in read_back.namelist()} == files


def test_other_archives_are_taken_over_as_they_are(shards):
    read_back = as_zip(sent(laid_out(shards).parts()))
    assert read_back.namelist() == [*shards[1], "labels.csv", "empty"]
    for name, content in shards[1].items():
        assert read_back.read(name) == content
    assert read_back.read("labels.csv") == b"file,labels\n"


@pytest.mark.parametrize("limit", [1, 100, 500, 600, 10_000])
@pytest.mark.parametrize("count", [1, 1000])
def test_sizes_places_and_counts_that_are_too_large_are_told_beside_the_fields(monkeypatch, limit, count):
    monkeypatch.setattr(archives, "ZIP64_FROM", limit)
    monkeypatch.setattr(archives, "ZIP64_COUNT_FROM", count)
    archive = Archive()
    archive.add("first", [in_memory(b"1" * 400)])
    archive.add("last", [in_memory(b"2" * 700)])
    read_back = as_zip(sent(archive.parts()))
    assert (read_back.read("first"), read_back.read("last")) == (b"1" * 400, b"2" * 700)


def test_archives_that_come_to_lie_far_away_keep_their_places(shards, monkeypatch):
    monkeypatch.setattr(archives, "ZIP64_FROM", 4000)
    archive = Archive()
    archive.add("first", [in_memory(b"1" * 5000)])
    for path in shards[0]:
        archive.add_all_of(path)
    read_back = as_zip(sent(archive.parts()))
    for name, content in shards[1].items():
        assert read_back.read(name) == content
    assert read_back.getinfo("000000.png").header_offset > 4000
    assert len(read_back.getinfo("000000.png").extra) == 12


def test_five_gigabytes_have_their_place_without_being_read(tmp_path):
    large = tmp_path / "images.npy"
    with large.open("wb") as file:
        file.truncate(5 * 2**30)  # takes no room on the disk
    archive = Archive()
    archive.add("images.npy", [in_file(large)])
    archive.add("manifest.npy", [in_memory(b"small")])
    parts = archive.parts()
    begins = 30 + len("images.npy") + 20 + 5 * 2**30 + 24
    assert sent(parts, range(begins, begins + 4)) == b"PK\3\4"
    assert sent(parts, range(begins + 42, begins + 47)) == b"small"
    assert sent(parts, range(total_size(parts) - 22, total_size(parts)))[:4] == b"PK\5\6"


@given(st.data())
def test_any_stretch_is_that_of_the_whole(tmp_path_factory, data):
    files = data.draw(contents)
    archive = Archive()
    archive.add_all_of(stored(tmp_path_factory.mktemp("stored"), "shard.zip", files))
    archive.add("more", [in_memory(b"more")])
    parts = archive.parts()
    whole = sent(parts)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert sent(parts, range(start, stop)) == whole[start:stop]


def test_equal_contents_make_equal_archives(shards):
    assert sent(laid_out(shards).parts()) == sent(laid_out(shards).parts())


@pytest.mark.parametrize("content", [b"no archive, but long enough for the end of one", b"PK\5\6" + b"\1" * 18])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "broken.zip"
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match=r"broken\.zip"):
        Archive().add_all_of(path)
