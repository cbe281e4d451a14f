"""A job's events as server-sent events: what was missed first, then what comes, until the job ends."""

import json
import time
from collections.abc import AsyncIterator
from typing import cast

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from redis.asyncio import Redis
from starlette.concurrency import run_in_threadpool

from app.jobs import Jobs
from worker.contract.errors import InvalidRequest
from worker.contract.live import END, Event, LiveJobs, event_order, events_key, parse_event

BLOCK_MILLISECONDS = 1000
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


async def stream(resource_id: str, after: str, *, live: LiveJobs, jobs: Jobs, redis: Redis) -> AsyncIterator[bytes]:
    """Server-sent events after an id. The stream ends with the `end` event of the job's newest run."""
    last, kind = after, ""
    for event in await run_in_threadpool(live.events, resource_id, after):
        last, kind = event.id, event.type
        yield _encode(event)
    silent_since = time.monotonic()
    while True:
        ended = (await run_in_threadpool(jobs.get, resource_id)).status.terminal
        if ended and kind == END:
            return
        events = await _read(redis, resource_id, last)
        for event in events:
            last, kind, silent_since = event.id, event.type, time.monotonic()
            yield _encode(event)
        # A job that has ended tells so a moment later; if nothing comes, it had told so before `after`.
        if ended and not events:
            return
        if time.monotonic() - silent_since > KEEP_ALIVE_SECONDS:
            silent_since = time.monotonic()
            yield KEEPALIVE_COMMENT


async def _read(redis: Redis, resource_id: str, after: str) -> list[Event]:
    answer = await redis.xread({events_key(resource_id): after}, block=BLOCK_MILLISECONDS)
    streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", answer)
    return [parse_event(identifier, fields) for _, entries in streams for identifier, fields in entries]


def _encode(event: Event) -> bytes:
    return format_sse_event(data_str=json.dumps(event.data), event=event.type, id=event.id)
