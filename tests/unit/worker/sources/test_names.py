import pytest

from worker.contract.errors import InvalidRequest
from worker.sources.names import KNOWN_TOLD, NAMES_TOLD, no_such, refuse, wrong_names


def test_a_name_that_there_is_not_is_answered_with_the_nearest_and_all_there_are() -> None:
    assert no_such("view", "pa", ["PA", "AP"]) == "There is no view 'pa'. Did you mean 'PA'? There is AP, PA."
    assert no_such("view", "PA", []) == "There is no view 'PA'. There is none at all."


def test_of_very_many_names_the_first_are_told() -> None:
    told = no_such("class", "?", [f"class {index:04}" for index in range(KNOWN_TOLD + 7)])
    assert told.endswith(f"class {KNOWN_TOLD - 1:04} and 7 more.")


def test_wrong_names_are_refused_at_their_places_the_first_of_them() -> None:
    names = ["a", *(f"wrong {index}" for index in range(NAMES_TOLD + 1))]
    with pytest.raises(InvalidRequest) as caught:
        refuse(wrong_names("#/only", "class", names, {"a"}))
    assert [error.pointer for error in caught.value.errors] == [f"#/only/{index + 1}" for index in range(NAMES_TOLD)]
    refuse(wrong_names("#/only", "class", ["a"], {"a"}))
