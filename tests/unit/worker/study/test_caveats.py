"""What is told beside the numbers of a study."""

import numpy as np
import pytest

from worker.contract.study_requests import StudyRequest
from worker.study.caveats import caveats_of
from worker.study.folds import Fold
from worker.study.plan import Subjects
from worker.study.pooled import Held


def caveats(patients: int = 200, repeated: int = 0, left_out: int = 0, known: bool = True, **fields) -> str:
    units = np.arange(2 * patients)
    subjects = Subjects(("Mass", "Nodule"), units, units % 2, units, units, repeated)
    fold = Fold(units[:2], units[2:4], units)
    request = StudyRequest(dataset="ds_x", **fields)
    return "\n".join(caveats_of(request, Held(subjects, [fold], {}), {}, patients_known=known, left_out=left_out))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"known": False}, "The source names no patients, so that each image counts as one"),
        ({"repeated": 1500}, "1,500 images are the same as others, pixel for pixel"),
        ({"left_out": 17}, "17 images of the dataset's parts were left out"),
        ({"patients": 40}, "Few patients are tested on of Mass (40), Nodule (40)"),
        ({"folds": None}, "the dataset's own parts"),
        ({"arms": ("real_oversampled", "synthetic")}, "no arm with classical augmentation"),
    ],
)
def test_what_makes_it_doubtful_is_told_where_it_is_so(more, sentence) -> None:
    assert sentence in caveats(**more)
    assert sentence not in caveats()


def test_a_gain_is_not_to_be_taken_for_granted() -> None:
    assert "must be above oversampling and classical augmentation, which need no generator" in caveats()
    assert "generator" not in caveats(arms=("real_oversampled",))


def test_choices_on_validation_and_dependent_folds_are_always_told() -> None:
    assert "scores on validation flatter" in caveats()
    assert "p values" in caveats()
