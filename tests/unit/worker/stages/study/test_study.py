"""A study from end to end, of tiny networks: what it tells, and that it can be done again."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from study_bench import (
    PATIENTS,
    SHOTS,
    SIZE,
    Killed,
    UntaughtClassifier,
    UntaughtTrainer,
    artefacts,
    dataset_of,
    drawn,
    killed,
    predictions,
    request,
    untaught,
    without_seconds,
)

from worker.contract.errors import InvalidRequest
from worker.contract.resources import Kind
from worker.contract.study_cells import cells_of
from worker.contract.study_requests import STUDY_ARMS, SYNTHETIC_ARMS
from worker.stages.study import study
from worker.study import arms, generators, outcome, study_run
from worker.study.scores import score


def test_every_arm_is_told_on_validation_and_test(context, dataset, tiny) -> None:
    job = context()
    asked = request(tiny)
    result = study(asked, dataset, job)
    assert (result.classes, result.images, result.patients) == (("Mass", "Nodule"), 48, PATIENTS)
    (fold,) = result.folds
    assert [sum(part.values()) for part in (fold.train, fold.validation, fold.test)] == [16] * 3
    assert [arm.arm for arm in result.arms] == list(STUDY_ARMS)
    for arm in result.arms:
        assert [choice.fold for choice in arm.chosen] == [1]
        for scores in (arm.validation, arm.test):
            assert scores.images == sum(map(sum, scores.confusion)) == 16
            assert scores.accuracy.low <= scores.accuracy.estimate <= scores.accuracy.high
            assert scores.sensitivity.keys() == scores.specificity.keys() == {"Mass", "Nodule"}
    at = {(point.arm, point.amount): point.test for point in result.curve}
    assert at.keys() == {
        *((arm, 0) for arm in STUDY_ARMS if arm != "synthetic"),
        *((arm, 6) for arm in SYNTHETIC_ARMS),
    }
    assert at["real_synthetic", 0] == at["real", 0]
    assert at["real_classical_synthetic", 0] == at["real_classical", 0]
    assert [comparison.test for comparison in result.comparisons] == ["permutation"] * 7
    assert result.missing == ()
    assert any("need no generator" in caveat for caveat in result.caveats)
    json.dumps(result.model_dump(mode="json"), allow_nan=False)
    phases = list(dict.fromkeys(report.phase for report in job.reporter.reports))
    assert phases[0] == "classifier 1 of 6: fold 1, real"
    assert phases[3:5] == ["fold 1, generator of Mass: train", "fold 1, generator of Mass: draw"]
    assert phases[-2:] == ["classifier 6 of 6: fold 1, synthetic with 6", "score"]
    rows = predictions(job)
    for name in STUDY_ARMS:
        of_arm = [row for row in rows if row["arm"] == name]
        assert [int(row["image"]) for row in of_arm] == list(range(32, 48))
        assert all(int(row["patient"]) == int(row["image"]) // SHOTS for row in of_arm)


def test_no_generator_or_classifier_sees_a_patient_who_is_tested_on(context, tmp_path, tiny, monkeypatch) -> None:
    dataset = dataset_of(tmp_path / "marked", drawn(marked=True))
    taught: list[set[int]] = []

    def fit(images: NDArray[np.uint8], *_: Any, validation: Any, **__: Any) -> UntaughtClassifier:
        assert validation is None
        taught.append(set(images[np.arange(len(images))][:, 0, 0].tolist()))
        return UntaughtClassifier()

    monkeypatch.setattr(generators, "Trainer", UntaughtTrainer)
    monkeypatch.setattr(UntaughtTrainer, "handed", [])
    monkeypatch.setattr(arms, "fit", fit)
    job = context()
    study(request(tiny, folds=4, arms=("real", "real_oversampled", "synthetic"), amounts=(6,)), dataset, job)
    of_real = [row for row in predictions(job) if row["arm"] == "real"]
    assert sorted(int(row["image"]) for row in of_real) == list(range(len(dataset.images)))
    tested = [{int(row["patient"]) for row in of_real if row["fold"] == str(fold)} for fold in (1, 2, 3, 4)]
    assert set.union(*tested) == set(range(PATIENTS))
    assert len(UntaughtTrainer.handed) == 4 * 2
    for number, patients in enumerate(UntaughtTrainer.handed):
        assert patients
        assert not patients & tested[number // 2]
        assert {patient % 2 for patient in patients} == {1 - number % 2}
    for number, patients in enumerate(taught):
        # The synthetic images are white.
        assert patients == {255} if number % 3 == 2 else patients
        assert not patients & tested[number // 3]


def test_without_synthetic_arms_no_generator_is_needed(context, dataset) -> None:
    job = context()
    result = study(request("unheard-of", folds=3, arms=("real_oversampled",), amounts=(0,)), dataset, job)
    assert [(arm.arm, arm.test.images) for arm in result.arms] == [("real", 48), ("real_oversampled", 48)]
    assert not (job.store.folder(job.resource_id) / "generators").exists()


def test_equal_requests_have_equal_results_in_whatever_order_the_work_is_done(
    job_context, dataset, tiny, monkeypatch
) -> None:
    asked = request(tiny, arms=("real_classical_synthetic",), amounts=(6,))
    usual, backwards, other = (job_context(Kind.STUDY.new_id()) for _ in range(3))
    expected = study(asked, dataset, usual)
    with monkeypatch.context() as reversing:
        reversing.setattr(study_run, "cells_of", lambda *arguments: reversed(list(cells_of(*arguments))))
        assert without_seconds(study(asked, dataset, backwards)) == without_seconds(expected)
    assert artefacts(backwards) == artefacts(usual)
    study(asked.model_copy(update={"seed": 8, "arms": ("real",), "amounts": (0,)}), dataset, other)
    ours, theirs = (
        [row["probability of Mass"] for row in predictions(job) if row["arm"] == "real"] for job in (usual, other)
    )
    assert len(ours) == len(theirs)
    assert ours != theirs


def test_what_is_the_same_classifiers_is_scored_once(context, dataset, tiny, monkeypatch) -> None:
    scored: list[Any] = []

    def counting(*arguments: Any, **more: Any) -> Any:
        scored.append(arguments)
        return score(*arguments, **more)

    untaught(monkeypatch)
    monkeypatch.setattr(outcome, "score", counting)
    study(request(tiny, arms=("real", "real_synthetic"), amounts=(0, 6)), dataset, context())
    # With 0 and with 6 images, on validation and test; all arms choose 0.
    assert len(scored) == 2 * 2


def test_an_auc_is_that_of_the_pairs_within_a_fold(context, dataset, monkeypatch) -> None:
    shifts = iter((0.0, 0.3, 0.6))

    class Shifted(UntaughtClassifier):
        """Tells a mass by the brightness; each of the three on a scale of its own."""

        def __init__(self) -> None:
            self.shift = next(shifts)

        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
            mass = self.shift + images.mean(axis=(1, 2)) / 1000
            return np.column_stack([mass, 1 - mass])

    monkeypatch.setattr(arms, "fit", lambda *_, **__: Shifted())
    (real,) = study(request("unheard-of", folds=3, arms=("real",), amounts=(0,)), dataset, context()).arms
    for part in (real.validation, real.test):
        assert part.auc is not None
        assert part.auc.estimate == part.auc.low == 1


def test_the_memory_does_not_grow_with_the_amount(context, dataset, tiny, monkeypatch) -> None:
    untaught(monkeypatch)
    amount = 40_000
    lesson_of = arms.lesson_of
    monkeypatch.setattr(arms, "lesson_of", lambda cell, *more: killed() if cell.amount else lesson_of(cell, *more))
    tracemalloc.start()
    try:
        with pytest.raises(Killed):
            study(request(tiny, arms=("synthetic",), amounts=(amount,)), dataset, context())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < amount * SIZE**2 / 2  # half of what one class has drawn


@pytest.mark.parametrize(
    ("fields", "pointer", "sentence"),
    [
        ({"classes": {"only": ("Mass",)}}, "#/classes", "tells 2 to 100 classes apart, and there are 1"),
        ({"classes": {"by": "sex"}}, "#/classes", "there are 1"),
        ({"classes": {"only": ("Mass", "Effusion")}}, "#/classes/only/1", "no class 'Effusion'"),
        ({"generator": {"model": {"family": "tinny"}}}, "#/generator/model/family", "Did you mean 'tiny'"),
        ({"generator": {"model": {"family": "minuscule28"}}}, "#/generator/model/family", "8 pixels on a side"),
        ({"generator": {"model": {"family": "minuscule28-conditional"}}}, "#/generator/model/family", "without labels"),
        (
            {"generator": {"model": {"family": "tiny", "hyperparameters": {"dropout": 2}}}},
            "#/generator/model/hyperparameters/dropout",
            "less than",
        ),
    ],
)
def test_what_cannot_be_studied_is_refused(context, dataset, tiny, fields, pointer, sentence) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        study(request(tiny, **fields), dataset, context())
    assert refused.value.errors[0].pointer == pointer
