import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parts import CHUNK_BYTES, in_file, in_memory, made_when_read, read, total_size, version


@given(st.lists(st.binary(max_size=20)), st.data())
def test_any_stretch_is_that_of_all_parts_one_after_the_other(contents, data):
    kinds = data.draw(st.lists(st.booleans(), min_size=len(contents), max_size=len(contents)))
    parts = [
        in_memory(content) if held else made_when_read(len(content), lambda content=content: content)
        for content, held in zip(contents, kinds, strict=True)
    ]
    whole = b"".join(contents)
    assert total_size(parts) == len(whole)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert b"".join(read(parts, range(start, stop))) == whole[start:stop]


def test_a_file_is_read_from_an_offset_in_pieces_of_one_size(tmp_path):
    file = tmp_path / "file"
    content = bytes(range(256)) * 4096
    file.write_bytes(content)
    whole, tail, middle = in_file(file), in_file(file, offset=1000), in_file(file, 1000, 50)
    assert [part.size for part in (whole, tail, middle)] == [len(content), len(content) - 1000, 50]
    assert [len(piece) for piece in read([whole], range(len(content)))] == [CHUNK_BYTES] * 4
    assert b"".join(read([middle, tail], range(40, 60))) == content[1040:1050] + content[1000:1010]


def test_small_parts_are_sent_together():
    assert list(read([in_memory(b"ab")] * 3, range(6))) == [b"ababab"]


def test_parts_that_are_not_wanted_are_not_opened(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    part = in_file(file)
    file.unlink()
    assert b"".join(read([in_memory(b"abc"), part, in_memory(b"xyz")], range(3))) == b"abc"


def test_a_file_that_has_become_shorter_is_an_error_and_no_short_answer(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    part = in_file(file)
    file.write_bytes(b"01234")
    with pytest.raises(OSError, match="5 bytes"):
        list(read([part], range(10)))


def test_a_version_names_the_bytes(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    before = version([in_file(file)])
    assert version([in_file(file)]) == before
    assert version([in_file(file), in_memory(b"")]) != before
    replacement = tmp_path / "replacement"
    replacement.write_bytes(b"new")
    replacement.replace(file)
    assert version([in_file(file)]) != before
    assert version([in_memory(b"new")]) != version([in_memory(b"old")])
