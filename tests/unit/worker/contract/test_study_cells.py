"""Which classifiers a study has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.study_cells import Cell, cells_of, points_of, stands_for
from worker.contract.study_requests import STUDY_ARMS, SYNTHETIC_ARMS, StudyRequest

requests = st.builds(
    lambda arms, amounts: StudyRequest(dataset="ds_x", arms=arms, amounts=sorted(amounts)),
    st.lists(st.sampled_from(STUDY_ARMS), min_size=1, unique=True),
    st.sets(st.integers(0, 50), min_size=2, max_size=4),
)


def kinds(**fields):
    return [(cell.arm, cell.amount) for cell in cells_of(StudyRequest(dataset="ds_x", **fields), 1)]


def test_what_needs_no_generator_comes_first():
    assert kinds(amounts=(0, 5, 9)) == [
        *(("real", 0), ("real_oversampled", 0), ("real_classical", 0)),
        *(("real_synthetic", 5), ("real_synthetic", 9)),
        *(("real_classical_synthetic", 5), ("real_classical_synthetic", 9)),
        *(("synthetic", 5), ("synthetic", 9)),
    ]


def test_an_amount_of_0_is_the_arm_without_whether_that_was_asked_for_or_not():
    assert kinds(arms=("real_classical_synthetic",), amounts=(0, 5)) == [
        ("real", 0),
        ("real_classical", 0),
        ("real_classical_synthetic", 5),
    ]
    assert stands_for("real_synthetic", 0) == ("real", 0)
    assert stands_for("real_synthetic", 5) == ("real_synthetic", 5)


@given(requests, st.integers(1, 4))
def test_every_point_has_one_classifier_in_each_fold(request, folds):
    cells = list(cells_of(request, folds))
    assert len(set(cells)) == len(cells)
    expected = {Cell(fold, *stands_for(arm, amount)) for fold in range(folds) for arm, amount in points_of(request)}
    assert set(cells) == expected
    assert [cell.fold for cell in cells] == sorted(cell.fold for cell in cells)


@given(requests)
def test_nothing_is_learnt_from_no_images(request):
    assert request.arms[0] == "real"
    assert all(cell.amount for cell in cells_of(request, 1) if cell.arm == "synthetic")
    assert all(not cell.amount for cell in cells_of(request, 1) if cell.arm not in SYNTHETIC_ARMS)


@pytest.mark.parametrize(
    ("cell", "told"),
    [(Cell(0, "real", 0), "fold 1, real"), (Cell(2, "real_synthetic", 1500), "fold 3, real_synthetic with 1,500")],
)
def test_people_are_told_which_one_it_is(cell, told):
    assert cell.told == told
