import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.preferences import wait_seconds


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["return=minimal; x=1", "WAIT = 10 ; y"], 10),
        (['wait="1\\0"'], 10),
        (["wait=007"], 7),
        (["wait=61"], 60),
        ([f"wait={'9' * 5000}"], 60),
        (["wait=1, wait=2", "wait=3"], 1),
        (["wait=soon, wait=2"], None),
        (['say="a, wait=1, b"'], None),
        (['say="\\"", wait=1'], 1),
        (['wait="1;2"'], None),
        (["wait=0"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=²"], None),
        (["wait"], None),
        (['wait=""'], None),
        (["handling=lenient"], None),
        ([], None),
    ],
)
def test_a_wait_is_understood_as_rfc_7240_says_and_what_is_not_understood_is_ignored(lines, seconds):
    assert wait_seconds(lines) == seconds


@given(st.lists(st.text(st.characters(max_codepoint=255))))
def test_nothing_a_header_can_hold_is_an_error(lines):
    assert wait_seconds(lines) in {None, *range(1, 61)}


tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)
quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
parts = st.one_of(tokens, st.builds("{}={}".format, tokens, st.one_of(tokens, quoted)))
parameters = st.lists(parts).map(lambda found: "".join(f"; {each}" for each in found))
others = st.builds("{}{}".format, parts.filter(lambda part: part.partition("=")[0] != "wait"), parameters)
waits = st.builds(
    "{}{}={}{}".format,
    st.sampled_from(["wait", "Wait", "WAIT"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["{}", " {}", '"{}"', "00{}"]),
    parameters,
)


@given(st.data(), st.integers(1, 100))
def test_a_wait_is_found_wherever_it_stands(data, seconds):
    wait = data.draw(waits).replace("{}", str(seconds), 1)
    before, after = data.draw(st.lists(others)), data.draw(st.lists(st.one_of(others, waits)))
    preferences = [*before, wait, *after]
    cut = data.draw(st.integers(0, len(preferences)))
    lines = [", ".join(preferences[:cut]), ",".join(preferences[cut:])]
    assert wait_seconds(lines) == min(seconds, 60)
