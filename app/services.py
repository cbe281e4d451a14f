"""What the routes work with, made in one place and handed to them."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.families import Families
from app.jobs import Jobs
from app.metrics import Metrics
from worker.contract.live import LiveJobs
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.sources.registry import SourceCatalog


@dataclass(frozen=True)
class Services:
    """The parts of one running front end."""

    settings: Settings
    store: Store
    redis: Redis
    streams: "AsyncRedis"
    live: LiveJobs
    jobs: Jobs
    families: Families
    sources: SourceCatalog
    metrics: Metrics


async def _services(request: Request) -> Services:  # a coroutine, for which no thread has to be woken
    services: Services = request.app.state.services
    return services


Use = Annotated[Services, Depends(_services)]
