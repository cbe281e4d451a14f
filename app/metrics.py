"""What Prometheus is told: how requests were answered, and how queues, workers, jobs and the disk stand at a scrape.

Requests are those of this front end; the rest is read from Redis and the store whenever it is asked for, so that every
front end tells the same of it. Labels are queues, kinds, statuses and routes: what is bounded, and shows nobody's id.
"""

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http import HTTPMethod

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError
from rq.registry import StartedJobRegistry
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.devices import live_workers
from worker.contract import job_counters
from worker.contract.errors import NotFound, StoreUnavailable
from worker.contract.live import LiveJobs
from worker.contract.queues import QueueName, queue
from worker.contract.resources import Kind
from worker.contract.store import Store

HTTP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""In seconds. An event stream begins as soon as any other answer does, and then lasts as long as its job."""

disable_created_metrics()  # type: ignore[no-untyped-call] # a line more for each counter, to say when it began


class Metrics:
    """The metrics of one front end, in a registry of its own: several may be in one process."""

    def __init__(self, redis: Redis, store: Store, live: LiveJobs) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ragan_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._durations = Histogram(
            "ragan_http_request_duration_seconds",
            "From a request to the start of its answer; without those that waited for a job, as asked.",
            ["method", "route"],
            buckets=HTTP_BOUNDS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Standing(redis, store, live))

    def answered(self, scope: Scope, status: int, seconds: float | None) -> None:
        """Count a request of an ASGI scope; without `seconds`, how long it took is not told."""
        method = scope["method"] if scope["method"] in HTTPMethod.__members__ else "other"
        route = getattr(scope.get("route"), "path", "none")
        self._requests.labels(method, route, status).inc()
        if seconds is not None:
            self._durations.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Everything, as it is now, in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)


class MeasuredRequests:
    """ASGI middleware: counts each request as its answer begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        has_answer = False

        async def counted(message: Message) -> None:
            nonlocal has_answer
            if message["type"] == "http.response.start":
                has_answer = True
                has_waited = "preference-applied" in Headers(raw=message["headers"])
                seconds = None if has_waited else time.perf_counter() - began
                self._metrics.answered(scope, message["status"], seconds)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            if not has_answer:  # an error that nobody foresaw is answered outside of all middleware
                self._metrics.answered(scope, 500, time.perf_counter() - began)


class _Standing(Collector):
    """How things stand, read anew at each scrape; of what cannot be read, there is nothing but that it is down."""

    def __init__(self, redis: Redis, store: Store, live: LiveJobs) -> None:
        self._redis = redis
        self._store = store
        self._live = live

    def collect(self) -> Iterable[Metric]:
        read: list[Metric] = []
        with suppress(RedisError):
            read = list(self._read_redis())
        yield GaugeMetricFamily("ragan_redis_up", "1 if Redis answers, else 0.", bool(read))
        yield from read
        free = self._free_bytes()
        yield GaugeMetricFamily("ragan_store_up", "1 if the store can be written, else 0.", free is not None)
        if free is not None:
            yield GaugeMetricFamily("ragan_store_free_bytes", "Free on the disk of the store.", free)

    def _read_redis(self) -> Iterator[Metric]:
        queues = {name: queue(name, self._redis) for name in QueueName}
        waiting = {name: each.count for name, each in queues.items()}
        # Looked at and not cleaned up, as RQ would: that is the workers' business.
        at_work = {
            name: set(StartedJobRegistry(queue=each).get_job_ids(cleanup=False)) for name, each in queues.items()
        }
        yield _queue_jobs(waiting, {name: len(entries) for name, entries in at_work.items()})
        yield self._workers()
        yield self._images_per_second([entry.partition("-")[0] for entries in at_work.values() for entry in entries])
        yield from _ended_jobs(self._redis)

    def _workers(self) -> Metric:
        family = GaugeMetricFamily("ragan_workers", "Live workers.", labels=["queue"])
        queues = [name for worker in live_workers(self._redis) for name in worker.queues]
        for name in QueueName:
            family.add_metric([name], queues.count(name))
        return family

    def _images_per_second(self, at_work: Sequence[str]) -> Metric:
        speeds = dict.fromkeys(Kind, 0.0)
        for resource_id in at_work:
            live = self._live.read(resource_id)
            if live and live.progress and live.progress.rate:
                with suppress(NotFound, OSError):  # deleted just now, or the store is gone
                    images = self._images_per_unit(resource_id, live.progress.unit)
                    speeds[Kind.of(resource_id)] += live.progress.rate * images
        family = GaugeMetricFamily(
            "ragan_images_per_second", "Images that the jobs at work read, learn from or draw.", labels=["kind"]
        )
        for kind, speed in speeds.items():
            family.add_metric([kind], speed)
        return family

    def _images_per_unit(self, resource_id: str, unit: str) -> int:
        """Images behind a unit of progress: real ones, for the steps of a training or of a study's generator."""
        if unit != "steps":
            return int(unit == "images")
        request = self._store.read_request(resource_id).request
        if Kind.of(resource_id) is Kind.STUDY:
            request = request["generator"]
        return int(request["batch_size"] * request["model"]["hyperparameters"].get("d_steps", 1))

    def _free_bytes(self) -> int | None:
        try:
            self._store.check()
            return shutil.disk_usage(self._store.root).free
        except (StoreUnavailable, OSError):
            return None


def _queue_jobs(waiting: dict[QueueName, int], running: dict[QueueName, int]) -> Metric:
    family = GaugeMetricFamily("ragan_queue_jobs", "Jobs that wait or are at work.", labels=["queue", "state"])
    for state, jobs in (("waiting", waiting), ("running", running)):
        for name, count in jobs.items():
            family.add_metric([name, state], count)
    return family


def _ended_jobs(redis: Redis) -> Iterator[Metric]:
    labels = ["kind", "status"]
    jobs = CounterMetricFamily("ragan_jobs_ended", "Jobs that ended.", labels=labels)
    durations = HistogramMetricFamily(
        "ragan_job_duration_seconds", "From the start of a job to its end; without those never started.", labels=labels
    )
    for (kind, status), ended in job_counters.read(redis).items():
        jobs.add_metric([kind, status], ended.jobs)
        buckets = [("+Inf" if bound == math.inf else str(bound), count) for bound, count in ended.within.items()]
        durations.add_metric([kind, status], buckets, ended.seconds)
    yield jobs
    yield durations
