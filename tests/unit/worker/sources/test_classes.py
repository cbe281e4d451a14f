import pytest

from worker.contract.checkpoints import NO_CLASSES, LearntClasses
from worker.contract.errors import InvalidRequest
from worker.sources.classes import MOST_CLASSES, check_number, label_of, labels_in_turn, labels_to_draw

LEARNT = LearntClasses(by="labels", names=("Mass", "Nodule"))


@pytest.mark.parametrize("number", [2, MOST_CLASSES])
def test_as_many_classes_can_be_learnt(number: int) -> None:
    check_number("some", [str(index) for index in range(number)])


@pytest.mark.parametrize(
    ("number", "sentence"), [(1, "there is 0 alone: take 2 or more"), (MOST_CLASSES + 1, "name some with `only`")]
)
def test_fewer_or_more_cannot(number: int, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        check_number("some", [str(index) for index in range(number)])
    assert caught.value.errors[0].pointer == "#/classes"


def test_labels_are_those_asked_for_or_else_all_that_were_learnt() -> None:
    assert labels_to_draw(None, LEARNT, "some") == ("Mass", "Nodule")
    assert labels_to_draw(("Nodule", "Nodule"), LEARNT, "some") == ("Nodule", "Nodule")
    assert labels_to_draw(None, NO_CLASSES, "some") is None


def test_labels_that_were_not_learnt_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match=r"no class 'Nodul'\. Did you mean 'Nodule'") as caught:
        labels_to_draw(("Mass", "Nodul"), LEARNT, "some")
    assert caught.value.errors[0].pointer == "#/labels/1"
    with pytest.raises(InvalidRequest, match="some was trained without labels: leave `labels` out"):
        labels_to_draw(("Mass",), NO_CLASSES, "some")


def test_images_take_labels_in_turn() -> None:
    assert [label_of(("a", "b"), index) for index in range(5)] == ["a", "b", "a", "b", "a"]
    assert labels_in_turn(("a", "b"), 3, 2) == ["b", "a"]
    assert labels_in_turn(None, 3, 2) is None
