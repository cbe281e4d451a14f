"""Asks a worker what a training or study would take: only workers can build networks, and have the libraries for it."""

import math
import time
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq.job import Job
from rq.results import Result

from app.devices import live_workers
from app.errors import error_classes
from app.events import BLOCK_SECONDS
from worker.contract.errors import InternalError, NoWorkerAnswers, Problem, RaganError
from worker.contract.queues import ANSWER_SECONDS, QueueName, ask_about
from worker.contract.requests import TrainingRequest
from worker.contract.study_requests import StudyRequest

Foreseen = TypeVar("Foreseen", bound=BaseModel)


async def forecast(
    request: TrainingRequest | StudyRequest,
    answer: type[Foreseen],
    *,
    redis: Redis,
    streams: AsyncRedis,
    seconds: float = ANSWER_SECONDS,
) -> Foreseen:
    """What a training or study would take. What waits for the answer is a connection to Redis, and no thread.

    Raises:
        NoWorkerAnswers: none that could is live, or none has answered after so many seconds.
        RaganError: whatever the worker has refused the request with.
    """
    job = await run_in_threadpool(_ask, request, redis)
    deadline = time.monotonic() + seconds
    answers = Result.get_key(job.id)  # type: ignore[no-untyped-call] # RQ's
    # redis-py gives up a connection that is silent for longer than some seconds.
    milliseconds = math.ceil(1000 * min(seconds, BLOCK_SECONDS))
    while not await streams.xread({answers: "0-0"}, block=milliseconds):
        if time.monotonic() >= deadline:
            raise NoWorkerAnswers(
                f"The worker that draws images has not answered for {seconds:g} seconds: it may be busy. Try again, or "
                "start another one (ragan worker --queue generate)."
            )
    return answer.model_validate(_parse(await run_in_threadpool(job.latest_result)))


def _ask(request: TrainingRequest | StudyRequest, redis: Redis) -> Job:
    if not any(QueueName.GENERATE in worker.queues for worker in live_workers(redis)):
        raise NoWorkerAnswers(
            "What this would take is worked out by a worker that draws images, and none is live: start one "
            "(ragan worker --queue generate), or wait some seconds if it is starting."
        )
    return ask_about(redis, request)


def _parse(found: Result | None) -> dict[str, Any]:
    if found is None or found.type is not Result.Type.SUCCESSFUL:
        raise InternalError("What this would take could not be worked out; the worker's log has why.")
    answer: dict[str, Any] = found.return_value or {}
    if "error" in answer:
        problem = Problem.model_validate(answer["error"])
        kind = error_classes().get(problem.type.rpartition("/")[2], RaganError)
        raise kind(problem.detail, errors=problem.errors)
    result: dict[str, Any] = answer["result"]
    return result
