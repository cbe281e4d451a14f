"""Every image of a generation has one training and, where there are labels, one label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.errors import CheckpointMissing
from worker.contract.requests import GenerationRequest
from worker.sources.classes import label_of
from worker.sources.segments import Segment, labels_within, segments_of


def balanced(**counts: int) -> GenerationRequest:
    trainings = {
        name: {"training": f"tr_{name}", "checkpoint": step, "count": count}
        for step, (name, count) in enumerate(counts.items())
    }
    return GenerationRequest(balance="ds_x", trainings=trainings)


def test_one_training_draws_all() -> None:
    request = GenerationRequest(training="tr_x", checkpoint=3, count=5, labels=["a", "b"])
    assert segments_of(request) == (Segment("tr_x", 3, 0, 5, ("a", "b")),)
    assert labels_within(segments_of(request), 1, 3) == ["b", "a", "b"]
    assert request.all_labels == ("a", "b")


def test_without_labels_there_are_none() -> None:
    request = GenerationRequest(training="tr_x", checkpoint=3, count=5)
    assert labels_within(segments_of(request), 0, 5) is None
    assert request.all_labels is None


def test_classes_follow_one_another_by_name_however_they_were_asked_for() -> None:
    segments = segments_of(balanced(b=3, a=2))
    assert segments == (Segment("tr_a", 1, 0, 2, ("a",)), Segment("tr_b", 0, 2, 3, ("b",)))
    assert labels_within(segments, 1, 3) == ["a", "b", "b"]
    assert balanced(b=3, a=2).all_labels == ("a", "b")


@pytest.mark.parametrize("checkpoint", ["latest", "best"])
def test_a_step_that_was_not_settled_is_missing(checkpoint: str) -> None:
    with pytest.raises(CheckpointMissing, match="was not resolved"):
        segments_of(GenerationRequest(training="tr_x", checkpoint=checkpoint))
    with pytest.raises(CheckpointMissing, match="was not resolved"):
        segments_of(GenerationRequest(balance="ds_x", trainings={"a": "tr_x"}, checkpoint=checkpoint))


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1)


@given(counts=COUNTS, first=st.integers(0, 250), count=st.integers(0, 100))
def test_parts_have_every_image_once(counts: dict[str, int], first: int, count: int) -> None:
    segments = segments_of(balanced(**counts))
    parts = [segment.within(first, count) for segment in segments]
    found = [index for part in parts for index in range(part.first, part.first + part.count)]
    assert found == list(range(first, min(first + count, sum(counts.values()))))
    in_order = [name for name, images in sorted(counts.items()) for _ in range(images)]
    assert labels_within(segments, first, count) == in_order[first : first + count]


@given(first=st.integers(0, 50), count=st.integers(0, 50), labels=st.none() | st.lists(st.text(), min_size=1))
def test_turns_count_who_takes_each_label(first: int, count: int, labels: list[str] | None) -> None:
    segment = Segment("tr_x", 1, first, count, None if labels is None else tuple(labels))
    places = range(len(labels or [""]))
    taken = [label_of([str(place) for place in places], index) for index in range(first, first + count)]
    assert segment.turns() == [taken.count(str(place)) for place in places]
