"""The functions that RQ calls, and the one place where an exception becomes a job's error."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from socket import gethostname
from typing import Any

from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError
from rq import Retry, get_current_job

from worker.context import JobContext, StopRequested
from worker.contract.errors import (
    DiskFull,
    InternalError,
    NotFound,
    Problem,
    RaganError,
    StoreUnavailable,
    WorkerDied,
    WrongState,
)
from worker.contract.live import LiveJobs, Superseded
from worker.contract.logs import working_on
from worker.contract.queues import WITHOUT_END, connect, enqueue, redis_address
from worker.contract.requests import (
    DatasetRequest,
    EvaluationRequest,
    GenerationRequest,
    ReaderStudyRequest,
    TrainingRequest,
)
from worker.contract.resources import Live, Progress, RequestRecord, Status
from worker.contract.settings import Settings
from worker.contract.space import disk_full, trouble
from worker.contract.store import Store
from worker.contract.study_requests import StudyRequest

SHUTDOWN = threading.Event()
"""Set by the signal handler of a worker that is told to stop; the job in hand is then handed back."""
MAX_ATTEMPTS = 3
"""A job whose process dies is started again until it has had so many."""

STORE_LOOK_SECONDS = 1.0
"""Between two looks for a disk that takes nothing."""

log = logging.getLogger("ragan.jobs")

Stage = Callable[[RequestRecord, JobContext], BaseModel | None]


def prepare_dataset(resource_id: str, run: int) -> Retry | None:
    """Select and prepare the images of a dataset."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel:
        from worker.sources.registry import SourceCatalog
        from worker.stages.prepare import prepare

        request = DatasetRequest.model_validate(record.request)
        return prepare(request, SourceCatalog(context.settings.sources).get(request.source), context)

    return _attempt(resource_id, run, stage)


def train_model(resource_id: str, run: int) -> Retry | None:
    """Train a family on a dataset, from its newest checkpoint if there is one."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel:
        # TensorFlow takes seconds to load: only the process that trains pays for it.
        from worker.dataset import Dataset
        from worker.stages.train import train

        request = TrainingRequest.model_validate(record.request)
        return train(request, Dataset.open(context.store.folder(request.dataset)), context)

    return _attempt(resource_id, run, stage)


def generate_images(resource_id: str, run: int, turn: int = 0) -> Retry | None:
    """Draw images for about a second, then queue the rest behind the others, as the next turn."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel | None:
        from worker.stages.generate import generate

        return generate(GenerationRequest.model_validate(record.request), context)

    return _attempt(resource_id, run, stage, turn)


def evaluate_training(resource_id: str, run: int) -> Retry | None:
    """Compare synthetic images of a training with real ones."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel:
        from worker.dataset import Dataset
        from worker.stages.evaluate import evaluate

        request = EvaluationRequest.model_validate(record.request)
        training = TrainingRequest.model_validate(context.store.read_request(request.training).request)
        dataset = Dataset.open(context.store.folder(training.dataset))
        return evaluate(
            request,
            dataset,
            context,
            classes=training.classes,
            classical_augmentation=training.classical_augmentation,
        )

    return _attempt(resource_id, run, stage)


def prepare_reader_study(resource_id: str, run: int) -> Retry | None:
    """Mix synthetic images of a training with real ones, for people to tell them apart."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel:
        from worker.dataset import Dataset
        from worker.stages.blind import prepare_reading

        request = ReaderStudyRequest.model_validate(record.request)
        training = TrainingRequest.model_validate(context.store.read_request(request.training).request)
        dataset = Dataset.open(context.store.folder(training.dataset))
        return prepare_reading(request, dataset, context, classes=training.classes)

    return _attempt(resource_id, run, stage)


def study_augmentation(resource_id: str, run: int) -> Retry | None:
    """Find out whether synthetic images help a classifier, from where an earlier attempt was."""

    def stage(record: RequestRecord, context: JobContext) -> BaseModel:
        from worker.dataset import Dataset
        from worker.stages.study import study

        request = StudyRequest.model_validate(record.request)
        return study(request, Dataset.open(context.store.folder(request.dataset)), context)

    return _attempt(resource_id, run, stage)


def describe_training(request: dict[str, Any]) -> dict[str, Any]:
    """What a training would take: `{"result": …}`, or `{"error": …}` with the problem. Nothing of it is kept."""
    from worker.dataset import Dataset
    from worker.stages.foresee import foresee

    settings, store, _ = _environment()
    training = TrainingRequest.model_validate(request)
    return _answer(lambda: foresee(training, Dataset.open(store.folder(training.dataset)), settings))


def describe_study(request: dict[str, Any]) -> dict[str, Any]:
    """What a study would take, as for a training."""
    from worker.dataset import Dataset
    from worker.study.plan import forecast

    _, store, _ = _environment()
    study = StudyRequest.model_validate(request)
    return _answer(lambda: forecast(study, Dataset.open(store.folder(study.dataset))))


def _answer(work_out: Callable[[], BaseModel]) -> dict[str, Any]:
    try:
        return {"result": work_out().model_dump(mode="json")}
    except RaganError as error:
        return {"error": error.problem().model_dump(mode="json")}


class _RedisReporter:
    """A job's line to the outside; progress that cannot be shown is not worth failing for."""

    def __init__(self, live: LiveJobs, resource_id: str, epoch: str) -> None:
        self._live = live
        self._id = resource_id
        self._epoch = epoch

    def report(self, progress: Progress) -> None:
        try:
            self._live.report(self._id, self._epoch, progress)
        except RedisError as error:
            log.warning("%s: progress could not be shown: %s", self._id, error)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        try:
            self._live.emit(self._id, kind, data)
        except RedisError as error:
            log.warning("%s: a %s event could not be shown: %s", self._id, kind, error)

    def should_stop(self) -> bool:
        return self.canceled() or SHUTDOWN.is_set()

    def canceled(self) -> bool:
        return self.check().status is Status.CANCELING

    def check(self) -> Live:
        """The job's state; Superseded if it is another process's by now."""
        return self._live.check_epoch(self._id, self._epoch)


@dataclass(frozen=True)
class _Outcome:
    """How an attempt, or a turn of it, came to an end."""

    status: Status
    result: BaseModel | None = None
    error: Problem | None = None


def _attempt(resource_id: str, run: int, stage: Stage, turn: int = 0) -> Retry | None:
    """One attempt at one job, or one turn of it: start, work, and write down how it ended."""
    settings, store, live = _environment()
    with working_on(resource_id):
        try:
            record = store.read_request(resource_id)
        except NotFound:
            log.info("%s was deleted; nothing to do", resource_id)
            return None
        try:
            state = _claim(live, store, record, run, turn)
            return _work(record, state, settings, live, stage, turn) if state else None
        except Superseded as superseded:
            # It was frozen, or cut off from Redis, past its lease. RQ must not come back to it: it would put away the
            # entry, which is the other's.
            log.warning("%s This process leaves without a trace.", superseded)
            logging.shutdown()
            os._exit(0)
        except StoreUnavailable as unavailable:  # not even how the job ended can be written down
            with suppress(WrongState):  # it is being cancelled, and will be
                live.move(record.id, record.run, Status.QUEUED)
            log.warning("%s: %s Until then, the job waits.", resource_id, unavailable.detail)
            SHUTDOWN.wait(STORE_LOOK_SECONDS)
            return Retry(max=WITHOUT_END)


def _work(
    record: RequestRecord, state: Live, settings: Settings, live: LiveJobs, stage: Stage, turn: int
) -> Retry | None:
    """Work on a claimed job; Superseded, before anything more is written, if it is another process's by now."""
    reporter = _RedisReporter(live, record.id, state.epoch)
    store = Store(settings.store, reporter.check)
    try:
        with store.scratch(record.id) as scratch:
            context = JobContext(
                resource_id=record.id, store=store, scratch=scratch, settings=settings, reporter=reporter
            )
            if not turn:
                context.note(f"Attempt {state.attempt} starts on {gethostname()}.")
            outcome = _outcome(record, stage, context, reporter)
    except DiskFull as full:
        if not store.has_ballast(record.id):
            raise
        # Full since the last turn: what that kept aside is enough to write down why there is none more.
        _finish(LiveJobs(_redis(), store), record, state, _Outcome(Status.FAILED, error=full.problem()))
        return None
    if outcome.status is Status.QUEUED:
        live.move(record.id, record.run, Status.QUEUED)
        context.note("The worker was told to stop; the job waits for another one.")
        return Retry(max=WITHOUT_END)
    if outcome.status is Status.RUNNING:
        enqueue(_redis(), record.kind, record.id, record.run, turn=turn + 1)
    else:
        _finish(LiveJobs(_redis(), store), record, state, outcome, context)
    return None


def _outcome(record: RequestRecord, stage: Stage, context: JobContext, reporter: _RedisReporter) -> _Outcome:
    """Work; `queued` says to hand the job back, `running` that more turns are to come."""
    try:
        result = stage(record, context)
    except StopRequested as stop:
        if reporter.canceled():
            return _Outcome(Status.CANCELED, result=stop.result)
        return _Outcome(Status.QUEUED)
    except Superseded:
        raise
    except Exception as error:  # noqa: BLE001 - it is logged, and told to whoever asked for the work
        problem = _problem_of(error, context)
        context.note(f"Failed: {problem.detail}")
        return _Outcome(Status.FAILED, error=problem)
    return _Outcome(Status.RUNNING if result is None else Status.SUCCEEDED, result=result)


def _claim(live: LiveJobs, store: Store, record: RequestRecord, run: int, turn: int) -> Live | None:
    """The state to work in; None if there is nothing to do any more, which is then written down if it was not."""
    state = live.read(record.id)
    if state is None or state.run != run or state.status.terminal:
        log.info("%s: run %d is over; nothing to do", record.id, run)
        return None
    ended = store.read_manifest(record.id)
    if ended is not None and ended.run == run:  # written by a process that died before it told Redis
        live.end(record.id, run, ended.status)
        return None
    if state.status is Status.CANCELING:
        _finish(live, record, state, _Outcome(Status.CANCELED))
        return None
    if turn and not _is_started_again():
        return state  # a later turn belongs to the attempt of the first
    if state.status is Status.RUNNING and state.attempt >= MAX_ATTEMPTS:
        _finish(live, record, state, _Outcome(Status.FAILED, error=_died_too_often(state).problem()))
        return None
    # Should a cancel come between, the status forbids the move, and RQ starts the job once more to end it.
    return live.move(record.id, run, Status.RUNNING)


def _is_started_again() -> bool:
    """Whether an earlier process died in this very piece of work."""
    job = get_current_job()
    return job is not None and job.retries_left is not None and job.retries_left < WITHOUT_END


def _died_too_often(state: Live) -> WorkerDied:
    return WorkerDied(
        f"The process that did this work died {state.attempt} times. Most often memory ran out: ask for a smaller "
        "batch or fewer images, or give the worker more; the worker's log says more."
    )


def _finish(
    live: LiveJobs, record: RequestRecord, state: Live, outcome: _Outcome, context: JobContext | None = None
) -> None:
    live.finish(
        record,
        state,
        outcome.status,
        progress=context.last_progress if context else state.progress,
        result=outcome.result.model_dump(mode="json") if outcome.result else None,
        error=outcome.error,
        versions=_versions(),
    )
    log.info("%s: %s", record.id, outcome.status)


def _problem_of(error: Exception, context: JobContext) -> Problem:
    """What a failed job says of itself; what nobody foresaw is also logged in full."""
    if isinstance(error, DiskFull):
        return disk_full(context.store.root, context.needed_bytes).problem()
    if isinstance(error, RaganError):
        return error.problem()
    context.log.error("failed unexpectedly", exc_info=error)
    if isinstance(error, OSError):
        return trouble(context.store.root, error, context.needed_bytes).problem()
    return InternalError(
        f"The work stopped with an error nobody foresaw ({type(error).__name__}); the worker's log has the details. "
        "Please report it with the id of this resource."
    ).problem()


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("ragan", "numpy", "pillow", "rq")}


@cache
def _redis() -> Redis:
    return connect(redis_address(Settings()), patient=True)


def _environment() -> tuple[Settings, Store, LiveJobs]:
    settings = Settings()
    store = Store(settings.store)
    return settings, store, LiveJobs(_redis(), store)
