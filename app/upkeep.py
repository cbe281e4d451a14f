"""What the front end does by itself every few seconds, beside answering."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from worker.contract.errors import StoreUnavailable
from worker.contract.recovery import Recovery

PAUSE_SECONDS = 2.0

log = logging.getLogger("ragan.api")


@asynccontextmanager
async def kept_up(recovery: Recovery) -> AsyncIterator[None]:
    """Within, jobs that Redis has forgotten are queued again."""
    upkeep = asyncio.create_task(_repeat(lambda: _recover(recovery)))
    try:
        yield
    finally:
        upkeep.cancel()
        with suppress(asyncio.CancelledError):
            await upkeep


async def _repeat(work: Callable[[], None]) -> None:
    while True:
        await run_in_threadpool(work)
        await asyncio.sleep(PAUSE_SECONDS)


def _recover(recovery: Recovery) -> None:
    try:
        for resource_id in recovery.tend():
            log.warning("%s: Redis had forgotten it; it is queued again", resource_id)
    except (RedisError, StoreUnavailable, OSError) as error:
        log.warning("what Redis may have forgotten cannot be looked for now: %s", error)
