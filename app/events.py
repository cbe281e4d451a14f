"""A job's events: what was missed first, then what comes, until the job ends. Sent to a client, or waited through."""

import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from app.jobs import Jobs
from worker.contract.errors import InvalidRequest
from worker.contract.live import END, Event, event_order, events_key, parse_event

BLOCK_SECONDS = 1.0
"""How long one read waits in Redis; after it, whether the job still exists is looked at."""
KEEP_ALIVE_SECONDS = 15.0


def checked_event_id(event_id: str, name: str) -> str:
    """An event id that a client sent back, under the name it was sent by."""
    try:
        event_order(event_id)
    except ValueError:
        raise InvalidRequest.at(
            f"?{name}", f"{event_id!r} is not the id of an event: send one as it was received, or leave it out."
        ) from None
    return event_id


async def stream(resource_id: str, after: str, *, jobs: Jobs, redis: Redis) -> AsyncIterator[bytes]:
    """Server-sent events after an id. The stream ends with the `end` event of the job's newest run."""
    silent_since = time.monotonic()
    async with aclosing(_follow(resource_id, after, jobs=jobs, redis=redis)) as batches:
        async for events in batches:
            for event in events:
                yield _encode(event)
            if events:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > KEEP_ALIVE_SECONDS:
                silent_since = time.monotonic()
                yield KEEPALIVE_COMMENT


async def wait_for_end(
    resource_id: str,
    seconds: float,
    *,
    abandoned: Callable[[], Awaitable[bool]],
    jobs: Jobs,
    redis: Redis,
) -> None:
    """Return at the end of the job's newest run; without it after so many seconds, or soon after nobody waits any more.

    What waits is a connection to Redis, and no thread.
    """
    deadline = time.monotonic() + seconds
    following = _follow(resource_id, "0-0", deadline=deadline, jobs=jobs, redis=redis)
    async with aclosing(following) as batches:
        async for _ in batches:
            if await abandoned():
                return


async def _follow(
    resource_id: str, after: str, *, deadline: float = math.inf, jobs: Jobs, redis: Redis
) -> AsyncGenerator[list[Event]]:
    """Events as they come, none after a second of silence; over with the `end` of the job's newest run or the deadline.

    No read outlasts the deadline, a time of `time.monotonic`. To cancel one instead would cost its connection, and in
    redis-py a cancellation that meets the reply is lost.
    """
    last, kind = after, ""
    events = await run_in_threadpool(jobs.events, resource_id, after)
    while True:
        if events:
            last, kind = events[-1].id, events[-1].type
        yield events
        # Not after every event: a look at the job costs more than an event does.
        may_have_ended = kind == END or not events
        ended = may_have_ended and (await run_in_threadpool(jobs.get, resource_id)).status.terminal
        if ended and kind == END:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            return
        try:
            events = await _read(redis, resource_id, last, min(left, BLOCK_SECONDS))
        except RedisError:
            if not ended:
                raise
            return  # all there is of it was in the store
        # A job that has ended tells so a moment later; if nothing comes, it had told so before `after`.
        if ended and not events:
            return


async def _read(redis: Redis, resource_id: str, after: str, seconds: float) -> list[Event]:
    # Rounded up, for Redis takes 0 for ever.
    answer = await redis.xread({events_key(resource_id): after}, block=math.ceil(1000 * seconds))
    streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", answer)
    return [parse_event(identifier, fields) for _, entries in streams for identifier, fields in entries]


def _encode(event: Event) -> bytes:
    return format_sse_event(data_str=json.dumps(event.data), event=event.type, id=event.id)
