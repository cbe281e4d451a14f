"""Which classes a training may be asked for: what the front end refuses, and what it leaves to the worker."""

import pytest

from app.classes import complete_classes
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ClassChoice

COUNTS = {
    "label": {"Mass": 3, "Nodule": 2},
    "view": {"AP": 2, "PA": 3},
    "sex": {"F": 5},
    "age_decade": {"20-29": 2, "30-39": 3},
    "split": {"train": 5},
}


@pytest.fixture
def labelled(family):
    return family.model_copy(update={"takes_labels": True})


def test_a_family_without_labels_takes_every_image_unless_it_is_asked_otherwise(family):
    assert complete_classes(None, family, COUNTS) is None
    choice = ClassChoice(by="sex", only=("F",))
    assert complete_classes(choice, family, COUNTS) == choice


def test_a_family_with_labels_learns_findings_unless_it_is_asked_otherwise(labelled):
    assert complete_classes(None, labelled, COUNTS) == ClassChoice(by="labels", only=None)
    choice = ClassChoice(by="age_decade")
    assert complete_classes(choice, labelled, COUNTS) == choice


@pytest.mark.parametrize("only", [("Mass|Nodule",), ("No Finding",), ("Nodule", "Mass")])
def test_findings_that_the_dataset_has_may_be_asked_for_in_any_combination(family, only):
    assert complete_classes(ClassChoice(only=only), family, COUNTS).only == only


@pytest.mark.parametrize(
    ("choice", "pointer", "sentence"),
    [
        ({"only": ("Mass", "Nodul")}, "#/classes/only/1", "no label 'Nodul'. Did you mean 'Nodule'"),
        ({"only": ("Mass|Noduel",)}, "#/classes/only/0", "no label 'Noduel'. Did you mean 'Nodule'"),
        ({"by": "view", "only": ("PA", "LL")}, "#/classes/only/1", "no class 'LL'.* There is AP, PA"),
        ({"by": "age_decade", "only": ("20-30",)}, "#/classes/only/0", "There is 20-29, 30-39"),
    ],
)
def test_what_the_dataset_does_not_have_is_refused_with_the_nearest(family, choice, pointer, sentence):
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        complete_classes(ClassChoice(**choice), family, COUNTS)
    assert [error.pointer for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize("choice", [{"only": ("Mass",)}, {"by": "sex"}, {"by": "view", "only": ("PA",)}])
def test_one_class_is_too_few_to_tell_apart(labelled, choice):
    with pytest.raises(InvalidRequest, match="alone: take 2 or more"):
        complete_classes(ClassChoice(**choice), labelled, COUNTS)
