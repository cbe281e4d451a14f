"""A study from end to end, of tiny networks: what it tells, and that it goes on, stops and can be done again."""

import csv
import errno
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset
from worker.context import StopRequested
from worker.contract.errors import DiskFull, InvalidRequest, TrainingDiverged
from worker.contract.resources import Kind
from worker.contract.results import StudyResult
from worker.contract.study_cells import cells_of
from worker.contract.study_requests import STUDY_ARMS, SYNTHETIC_ARMS, StudyRequest
from worker.dataset import Dataset, ImagesWriter
from worker.population import Population
from worker.sources.base import SPLITS
from worker.stages.study import study
from worker.study import arms, generators, outcome, study_run
from worker.study.scores import score
from worker.trainer import Trainer

SIZE = 8
PATIENTS, SHOTS = 24, 2
"""Images of a patient follow one another; those of every second one are brighter, and show a mass."""
ARTEFACTS = (
    "curve.png",
    "curve.svg",
    *(f"tables/{name}.csv" for name in ("arms", "comparisons", "curve", "predictions")),
)


def drawn(marked: bool = False) -> NDArray[np.uint8]:
    """Noise, brighter where there is a mass; if they are marked, the first pixel tells the patient."""
    whose = np.repeat(np.arange(PATIENTS), SHOTS)
    images = np.random.default_rng(5).integers(0, 120, (len(whose), SIZE, SIZE), np.uint8)
    images[whose % 2 == 1] += 100
    if marked:
        images[:, 0, 0] = whose
    return images


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_of(tmp_path / "dataset", drawn())


def dataset_of(folder: Path, images: NDArray[np.uint8]) -> Dataset:
    patients = np.repeat(np.arange(PATIENTS), SHOTS)
    labels = np.where(patients % 2 == 1, "Mass", "Nodule").tolist()
    parts = np.repeat(SPLITS, len(images) // 3).tolist()
    return labelled_dataset(folder, images, labels, parts, patients.tolist())


def request(family: str, **more: Any) -> StudyRequest:
    asked: dict[str, Any] = {
        "dataset": Kind.DATASET.new_id(),
        "folds": None,
        "amounts": (0, 6),
        "generator": {"model": {"family": family}, "steps": 4, "batch_size": 4, "precision": "float32"},
        "classifier": {"epochs": 2, "batch_size": 8, "optimizer": "adam"},
        "seed": 7,
    }
    return StudyRequest(**asked | more)


def artefacts(context: Any) -> dict[str, bytes]:
    folder = context.store.folder(context.resource_id)
    return {name: (folder / name).read_bytes() for name in ARTEFACTS}


def without_seconds(result: StudyResult) -> StudyResult:
    return result.model_copy(update={"seconds": 0.0})


@pytest.fixture
def context(job_context: Callable[..., Any]) -> Callable[..., Any]:
    """Contexts of one study, or of a new one."""
    study_id = Kind.STUDY.new_id()
    return lambda resource_id=study_id, **more: job_context(resource_id, **more)


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


def predictions(job: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(artefacts(job)["tables/predictions.csv"].decode())))


class UntaughtTrainer:
    """In place of one that learns; remembers which patients it was handed."""

    handed: ClassVar[list[set[int]]] = []
    state_bytes = 0

    def __init__(self, family: Any, hyperparameters: Any, strategy: Any, population: Population, plan: Any) -> None:
        self.family, self.hyperparameters, self.steps_done = family, hyperparameters, 0
        self.handed.append(set(population.take(np.arange(len(population)))[:, 0, 0].tolist()))

    def advance(self, steps: int) -> list[dict[str, float]]:
        self.steps_done += steps
        return [{"loss": 0.0}] * steps

    def state(self) -> None:
        """There is none."""

    def sample(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones((len(latents), SIZE, SIZE), np.float32)


class UntaughtClassifier:
    best_epoch = 1

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.full((len(images), 2), 0.5)


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


class Killed(BaseException):
    """As if the process had died."""


def killed(*_: Any, **__: Any) -> NoReturn:
    raise Killed


def test_a_killed_study_goes_on_and_gives_the_same_tables(job_context, dataset, tiny, monkeypatch) -> None:
    asked = request(tiny, arms=("real", "real_synthetic"), amounts=(6,))
    whole = job_context(Kind.STUDY.new_id())
    expected = study(asked, dataset, whole)
    monkeypatch.setattr(generators, "STATE_EVERY", 2)
    killed = Kind.STUDY.new_id()
    # In turn: the folds, "real", two states and the images of a generator, the same of the other one, the last cell.
    for files in (1, 1, 1, 3):
        with monkeypatch.context() as dying, pytest.raises(Killed):
            study(asked, dataset, job_context_dying_after(files, next_attempt(job_context, killed), dying))
    taken = watched(monkeypatch)
    again = next_attempt(job_context, killed)
    assert without_seconds(study(asked, dataset, again)) == without_seconds(expected)
    assert artefacts(again) == artefacts(whole)
    assert sum(taken) == 2
    assert not any((again.store.folder(killed) / "unfinished").rglob("state*"))


def next_attempt(job_context: Callable[..., Any], study_id: str) -> Any:
    """The context of another process, which has a scratch folder of its own."""
    job = job_context(study_id)
    shutil.rmtree(job.scratch)
    return job_context(study_id)


def job_context_dying_after(files: int, job: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The context of a process that dies before it has published one more file than these."""
    left = files

    def dying(publish: Callable[..., Path]) -> Callable[..., Path]:
        def publish_or_die(*arguments: Any) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return publish(*arguments)

        return publish_or_die

    for name in ("publish", "publish_bytes"):
        monkeypatch.setattr(job.store, name, dying(getattr(job.store, name)))
    return job


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that generators take from now on."""
    taken: list[int] = []
    advance = Trainer.advance

    def watching(trainer: Trainer, steps: int) -> Any:
        taken.append(steps)
        return advance(trainer, steps)

    monkeypatch.setattr(Trainer, "advance", watching)
    return taken


def test_a_cancelled_study_keeps_what_is_done_and_says_what_is_missing(context, dataset, tiny) -> None:
    asked = request(tiny, folds=3, arms=("real", "real_oversampled", "real_synthetic"))
    job = context()
    job.reporter.should_stop = lambda: any("generator" in report.phase for report in job.reporter.reports)
    with pytest.raises(StopRequested) as stop:
        study(asked, dataset, job)
    result = stop.value.result
    assert len(list((job.store.folder(job.resource_id) / "cells").rglob("*.npz"))) == 2
    assert [(cell.fold, cell.arm, cell.amount) for cell in result.missing] == [
        (1, "real_synthetic", 6),
        *((fold, *kind) for fold in (2, 3) for kind in (("real", 0), ("real_oversampled", 0), ("real_synthetic", 6))),
    ]
    assert [(arm.arm, len(arm.chosen)) for arm in result.arms] == [("real", 1), ("real_oversampled", 1)]
    assert [(pair.first, pair.second) for pair in result.comparisons] == [("real", "real_oversampled")]
    assert artefacts(job)["tables/arms.csv"].count(b"\n") == 1 + 2 * 2


def test_a_study_that_is_cancelled_at_once_has_nothing_to_tell(context, dataset, tiny) -> None:
    job = context(stop_after=0)
    with pytest.raises(StopRequested) as stop:
        study(request(tiny), dataset, job)
    assert (stop.value.result.arms, stop.value.result.comparisons, len(stop.value.result.missing)) == ((), (), 6)


def test_every_attempt_goes_by_the_folds_of_the_first(context, dataset, tiny, monkeypatch) -> None:
    asked = request(tiny, folds=3)
    with pytest.raises(StopRequested) as first:
        study(asked, dataset, context(stop_after=0))
    monkeypatch.setattr(study_run, "folds_of", lambda *_: pytest.fail("they are there"))
    with pytest.raises(StopRequested) as second:
        study(asked, dataset, context(stop_after=0))
    assert second.value.result.folds == first.value.result.folds


def test_a_study_whose_worker_is_told_to_stop_tells_nothing_yet(context, dataset, tiny) -> None:
    job = context(stop_after=1)
    job.reporter.is_canceled = False
    with pytest.raises(StopRequested) as stop:
        study(request(tiny), dataset, job)
    assert stop.value.result is None


@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_stop_within_a_generator_keeps_its_state_for_another_attempt(
    context, dataset, tiny, monkeypatch, is_canceled: bool
) -> None:
    untaught(monkeypatch)
    job = context()
    job.reporter.is_canceled = is_canceled
    job.reporter.should_stop = lambda: bool(states(job))
    with pytest.raises(StopRequested):
        study(request(tiny, arms=("synthetic",), amounts=(6,)), dataset, job)
    assert states(job) == ([] if is_canceled else ["00000002"])


def untaught(monkeypatch: pytest.MonkeyPatch, trainer: type = UntaughtTrainer) -> None:
    """Networks that learn nothing, and a state of a generator after every second step."""
    monkeypatch.setattr(UntaughtTrainer, "handed", [])
    monkeypatch.setattr(generators, "Trainer", trainer)
    monkeypatch.setattr(generators, "STATE_EVERY", 2)
    monkeypatch.setattr(generators, "write_state", lambda _, made: made.mkdir())
    monkeypatch.setattr(arms, "fit", lambda *_, **__: UntaughtClassifier())


def states(job: Any) -> list[str]:
    return [state.name for state in (job.store.folder(job.resource_id) / "unfinished").rglob("0000*")]


def test_states_that_a_killed_attempt_left_beside_its_images_are_let_go_of(context, dataset, tiny, monkeypatch) -> None:
    untaught(monkeypatch)
    asked = request(tiny, arms=("synthetic",), amounts=(6,))
    job = context()

    def die(_: str, name: str) -> None:
        if name.count("/") == 2:  # all states of a generator
            raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(job.store, "withdraw", die)
        with pytest.raises(Killed):
            study(asked, dataset, job)
    assert states(job)
    again = context()
    monkeypatch.setattr(arms, "fit", killed)
    with pytest.raises(Killed):
        study(asked, dataset, again)
    assert states(again) == []


def test_a_generator_that_diverges_ends_the_study_in_a_sentence(context, dataset, failing) -> None:
    family = failing('metrics["d_loss"] = metrics["d_loss"] + float("nan")')
    with pytest.raises(TrainingDiverged, match=r"fold 1, generator of Mass: by step 1 a loss .* learning_rate_d below"):
        study(request(family, arms=("synthetic",), amounts=(6,)), dataset, context())


class LastDiverges(UntaughtTrainer):
    """The last of six generators diverges, once it has a state."""

    def advance(self, steps: int) -> list[dict[str, float]]:
        rows = super().advance(steps)
        return [{"loss": float("nan")}] if len(self.handed) == 6 and self.steps_done > 2 else rows


def test_a_study_that_fails_leaves_what_is_done(context, dataset, tiny, monkeypatch) -> None:
    untaught(monkeypatch, LastDiverges)
    job = context()
    with pytest.raises(TrainingDiverged, match="fold 3, generator of Nodule"):
        study(request(tiny, folds=3, arms=("real", "synthetic"), amounts=(6,)), dataset, job)
    told = {(row["arm"], row["fold"]) for row in predictions(job)}
    assert told == {*(("real", fold) for fold in "123"), *(("synthetic", fold) for fold in "12")}
    assert states(job) == []


def test_a_study_that_fails_on_a_full_disk_leaves_what_is_done(context, dataset, tiny, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    untaught(monkeypatch)
    monkeypatch.setattr(ImagesWriter, "append", full)
    job = context()
    with pytest.raises(OSError, match="no room"):
        study(request(tiny, arms=("real", "synthetic"), amounts=(6,)), dataset, job)
    assert {row["arm"] for row in predictions(job)} == {"real"}


def test_without_room_for_what_is_left_it_leaves_what_is_done(context, dataset, tiny, monkeypatch) -> None:
    untaught(monkeypatch)
    asked = request(tiny, arms=("real", "real_oversampled"), amounts=(0,))
    first = context(stop_after=1)
    first.reporter.is_canceled = False
    with pytest.raises(StopRequested):
        study(asked, dataset, first)
    again = context()

    def full(_: int) -> NoReturn:
        raise DiskFull("no room")

    monkeypatch.setattr(again, "need_room", full)
    with pytest.raises(DiskFull, match="no room"):
        study(asked, dataset, again)
    assert {row["arm"] for row in predictions(again)} == {"real"}


def test_a_disk_that_takes_no_tables_is_not_what_a_study_failed_of(context, dataset, tiny, monkeypatch) -> None:
    untaught(monkeypatch, LastDiverges)
    job = context()
    publish = job.store.publish_bytes

    def full(content: bytes, resource_id: str, name: str) -> Path:
        if name in ARTEFACTS:
            raise DiskFull("no room")
        return publish(content, resource_id, name)

    monkeypatch.setattr(job.store, "publish_bytes", full)
    with pytest.raises(TrainingDiverged):
        study(request(tiny, folds=3, arms=("synthetic",), amounts=(6,)), dataset, job)
    assert any("could not be published: no room" in event["message"] for _, event in job.reporter.events)


@pytest.mark.parametrize("is_canceled", [False, True])
def test_scoring_hears_a_stop(context, dataset, tiny, monkeypatch, is_canceled: bool) -> None:
    untaught(monkeypatch)
    asked = request(tiny, arms=("real",), amounts=(0,))
    job = context()
    job.reporter.is_canceled = is_canceled
    job.reporter.should_stop = lambda: any(report.phase == "score" for report in job.reporter.reports)
    if is_canceled:  # all is done but the scores
        assert study(asked, dataset, job).missing == ()
        return
    with pytest.raises(StopRequested) as stop:
        study(asked, dataset, job)
    assert stop.value.result is None
    assert study(asked, dataset, context()).missing == ()


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
