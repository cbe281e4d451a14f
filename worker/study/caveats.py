"""What makes the numbers of a study doubtful, in sentences."""

from collections.abc import Iterator, Mapping

import numpy as np

from worker.contract.study_requests import StudyArm, StudyRequest
from worker.study.pooled import Held, HeldOut
from worker.study.scores import Scores

FEW_PATIENTS = 50
"""Of a class that is tested: with fewer, an interval of its sensitivity is some 0.2 wide or wider."""
CHEAPER: Mapping[StudyArm, str] = {"real_oversampled": "oversampling", "real_classical": "classical augmentation"}
"""Arms that need no generator, and may gain as much."""


def caveats_of(
    request: StudyRequest,
    held: Held,
    arms: Mapping[StudyArm, Mapping[HeldOut, Scores]],
    *,
    patients_known: bool,
    left_out: int,
) -> Iterator[str]:
    """What to know before any of a study is repeated.

    Args:
        request: The study.
        held: What its classifiers have told.
        arms: The scores of the arms that there are.
        patients_known: Whether the source names patients.
        left_out: Images of the dataset's parts that are not in the study.
    """
    yield from _of_patients(held, arms, patients_known=patients_known, left_out=left_out)
    if request.needs_generators:
        yield from _of_gains(request)
    yield (
        "Amounts and thresholds are chosen on validation images, so that scores on validation flatter. Each classifier "
        "was taught once: another seed gives other numbers."
    )
    if request.folds is None:
        yield (
            "Validation and test are the dataset's own parts. If one of them is from another place than what was "
            "learnt from, fitting less can look better: compare both."
        )
    else:
        yield (
            "The classifiers of two folds have learnt from many of the same images, so that the p values, of all folds "
            "together, are somewhat too small. All images are of one source: what holds elsewhere is not told."
        )


def _of_patients(
    held: Held, arms: Mapping[StudyArm, Mapping[HeldOut, Scores]], *, patients_known: bool, left_out: int
) -> Iterator[str]:
    subjects = held.subjects
    if not patients_known:
        yield (
            "The source names no patients, so that each image counts as one: of two images of a patient, one may be "
            "learnt from and the other tested on, which flatters, and makes intervals too narrow."
        )
    if subjects.repeated:
        yield (
            f"{subjects.repeated:,} images are the same as others, pixel for pixel. Patients who share one count as "
            "one; a dataset that excludes `duplicate` has hardly any of them."
        )
    if left_out:
        yield (
            f"{left_out:,} images of the dataset's parts were left out: their patients, or they themselves, are among "
            "those validated with or tested on."
        )
    tested = np.unique(np.concatenate([fold.test for fold in held.folds]))
    patients = {
        name: len(np.unique(subjects.units[tested[subjects.codes[tested] == code]]))
        for code, name in enumerate(subjects.names)
    }
    if few := [f"{name} ({count})" for name, count in patients.items() if count < FEW_PATIENTS]:
        yield (
            f"Few patients are tested on of {', '.join(few)}: intervals are wide, and a gain that is not large cannot "
            "be told from chance."
        )
    if any(found.resamples_without_a_class for parts in arms.values() for found in parts.values()):
        yield (
            "Of some class there are so few patients that resamples lack it, which count as 0 at the low end of its "
            "intervals and as 1 at the high end."
        )


def _of_gains(request: StudyRequest) -> Iterator[str]:
    there = [told for arm, told in CHEAPER.items() if arm in request.arms]
    lacking = [told for arm, told in CHEAPER.items() if arm not in request.arms]
    if there:
        yield (
            f"That an arm with synthetic images is above `real` says little: it must be above {' and '.join(there)}, "
            "which need no generator. Arms with more images are also taught more steps an epoch."
        )
    if lacking:
        yield f"The study has no arm with {' or '.join(lacking)}, which may gain as much without a generator."
