"""Studies that are killed, stopped or cancelled, or that fail: what they leave, and that they go on."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from study_bench import (
    ARTEFACTS,
    Killed,
    UntaughtTrainer,
    artefacts,
    killed,
    predictions,
    request,
    states,
    untaught,
    without_seconds,
)

from worker.context import StopRequested
from worker.contract.errors import DiskFull, TrainingDiverged
from worker.contract.resources import Kind
from worker.dataset import ImagesWriter
from worker.stages.study import study
from worker.study import arms, generators, study_run
from worker.trainer import Trainer


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
