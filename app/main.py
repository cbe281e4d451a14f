"""Puts the front end together: the one place where its parts are made and connected."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from redis.asyncio import Redis as AsyncRedis

from app import access, errors
from app.access import Door, Policy
from app.audit import Audit
from app.body_limit import BodyLimit
from app.families import Families
from app.foreign_pages import ForeignPages
from app.jobs import Jobs
from app.keys import Keyring
from app.metrics import MeasuredRequests, Metrics
from app.printable_paths import PrintablePaths
from app.quotas import Admission
from app.request_ids import RequestIds
from app.routes import (
    blind_reading,
    datasets,
    evaluations,
    generations,
    models,
    reader_studies,
    sources,
    studies,
    system,
    trainings,
)
from app.routes.resources import resource_routes
from app.security_headers import SecurityHeaders
from app.services import Services
from worker.contract.live import LiveJobs
from worker.contract.queues import connect, redis_address
from worker.contract.resources import Kind
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.sources.registry import SourceCatalog

STREAM_CONNECTIONS = 1000
"""Clients that may watch or wait for jobs at once, each over a connection of its own; redis-py stops at 100."""

DESCRIPTION = """Select a cohort of chest X-rays, train a GAN on it, watch it learn, draw synthetic images.

Not a medical device: nothing it makes is fit for diagnosis."""


def create_app(settings: Settings, policy: Policy = Policy.IF_THERE_IS_A_FILE) -> FastAPI:
    """The ASGI application, which asks for API keys by this policy.

    Nothing is contacted until it is needed; QueueUnavailable without an address of Redis.
    """
    address = redis_address(settings)
    redis = connect(address, patient=False)
    streams = AsyncRedis.from_url(address, max_connections=STREAM_CONNECTIONS)
    store = Store(settings.store)
    live = LiveJobs(redis, store)
    keyring = Keyring.of(settings)
    metrics = Metrics(redis, store, live)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await streams.aclose()
        redis.close()

    # /docs from files of our own: a hospital network has no way to the content network that FastAPI's page loads from.
    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="RaGAN",
        summary="Synthetic radiology images as a service.",
        description=DESCRIPTION,
        version=version("ragan"),
        lifespan=lifespan,
    )
    app.state.services = Services(
        settings=settings,
        store=store,
        redis=redis,
        streams=streams,
        live=live,
        jobs=Jobs(redis, store, live, Admission(redis, store, live, keyring, settings)),
        families=Families(store),
        sources=SourceCatalog(settings.sources),
        metrics=metrics,
    )
    # The last is the outermost: it is the first to see a request.
    app.add_middleware(BodyLimit)
    app.add_middleware(ForeignPages)
    app.add_middleware(Door, keyring=keyring, policy=policy)
    app.add_middleware(Audit)
    app.add_middleware(PrintablePaths)
    app.add_middleware(RequestIds)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasuredRequests, metrics=metrics)
    errors.install(app)
    for noun in (sources, datasets, models, trainings, generations, evaluations, studies, reader_studies, system):
        app.include_router(noun.router, dependencies=[Depends(access.only_its_owner_changes_it)])
    app.include_router(blind_reading.router)  # who answers is no owner
    for kind in Kind:
        app.include_router(resource_routes(kind), dependencies=[Depends(access.only_its_owner_changes_it)])
    access.document(app)
    return app
