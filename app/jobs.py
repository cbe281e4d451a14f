"""Submit, look at, cancel, resume, delete: the only code of the front end that knows of the queue."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from redis import Redis
from redis.lock import Lock
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer

from worker.contract.errors import InUse, NotFound, WrongState
from worker.contract.live import LiveJobs, utc_now
from worker.contract.queues import ROUTES, AllowListedJob, enqueue, queue, rq_job_id
from worker.contract.resources import Kind, Live, RequestRecord, Resource, Status, view
from worker.contract.store import Store

LOCK_SECONDS = 30
"""After so long a front end that died in the middle of a change no longer keeps others from theirs."""


class Jobs:
    """The resources that jobs make, whatever their kind."""

    def __init__(self, redis: Redis, store: Store, live: LiveJobs, clock: Callable[[], datetime] = utc_now) -> None:
        self._redis = redis
        self._store = store
        self._live = live
        self._clock = clock

    def submit(self, kind: Kind, request: BaseModel) -> Resource:
        """Write the request down, then queue it; if it cannot be queued, nothing of it remains."""
        record = RequestRecord(
            id=kind.new_id(), kind=kind, created_at=self._clock(), request=request.model_dump(mode="json")
        )
        self._store.write_request(record)
        try:
            self._queue(record)
        except BaseException:
            self._store.delete(record.id)
            raise
        return self.get(record.id)

    def get(self, resource_id: str) -> Resource:
        """A resource as it is now; NotFound if there is none. What has ended is read without Redis."""
        record = self._store.read_request(resource_id)
        manifest = self._store.read_manifest(resource_id)
        if manifest is not None and manifest.run == record.run:
            return view(record, manifest, None)
        live = self._live.read(resource_id)
        if live is None:  # it may have ended since the manifest was looked for
            return view(record, self._store.read_manifest(resource_id), None)
        resource = view(record, None, live)
        if live.status is Status.QUEUED:
            resource.queue_position = self._position(record)
        return resource

    def finished(self, resource_id: str) -> Resource:
        """A resource whose artefacts are wanted; WrongState if it did not succeed."""
        resource = self.get(resource_id)
        if resource.status is not Status.SUCCEEDED:
            wait = "" if resource.status.terminal else " Wait for its end."
            raise WrongState(f"{resource_id} is {resource.status}: only what has succeeded can be used.{wait}")
        return resource

    def page(
        self, kind: Kind, *, limit: int, after: str | None = None, status: Status | None = None
    ) -> tuple[list[Resource], bool]:
        """Newest first: at most `limit` resources older than `after`, and whether there are more."""
        found: list[Resource] = []
        for resource in self._older(kind, after):
            if status is None or resource.status is status:
                if len(found) == limit:
                    return found, True
                found.append(resource)
        return found, False

    def cancel(self, resource_id: str) -> Resource:
        """Ask a job to stop; a queued one never starts. WrongState if it has ended."""
        with self._one_at_a_time(resource_id):
            record = self._store.read_request(resource_id)
            resource = self.get(resource_id)
            if resource.status is Status.CANCELING:
                return resource
            if resource.status.terminal:
                raise WrongState(f"{resource_id} is {resource.status} already: there is nothing to cancel.")
            try:
                state = self._live.move(resource_id, record.run, Status.CANCELED, only_from=[Status.QUEUED])
            except WrongState:
                self._live.move(resource_id, record.run, Status.CANCELING, only_from=[Status.RUNNING])
            else:
                self._end_canceled(record, state)
            return self.get(resource_id)

    def resume(self, resource_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Resource:
        """Queue a job that has ended once more, with its request changed; WrongState while it is active."""
        with self._one_at_a_time(resource_id):
            resource = self.get(resource_id)
            if not resource.status.terminal:
                raise WrongState(
                    f"{resource_id} is {resource.status}: cancel it, or wait for its end, and resume it then."
                )
            record = self._store.read_request(resource_id)
            again = record.model_copy(update={"run": record.run + 1, "request": change(record.request)})
            self._store.write_request(again)
            try:
                self._queue(again)
            except BaseException:
                self._store.write_request(record)
                raise
            return self.get(resource_id)

    def delete(self, resource_id: str) -> None:
        """Remove a resource that has ended; InUse while others were made from it."""
        with self._one_at_a_time(resource_id):
            resource = self.get(resource_id)
            if not resource.status.terminal:
                raise WrongState(f"{resource_id} is {resource.status}: cancel it first, then delete it.")
            if users := list(self._users(resource)):
                raise InUse(f"{resource_id} is needed by {', '.join(users)}: delete these first.")
            self._store.delete(resource_id)
            self._live.forget(resource_id)

    def _one_at_a_time(self, resource_id: str) -> Lock:
        """Of two clients that change a resource at once, the second sees what the first has made of it."""
        lock: Lock = self._redis.lock(f"ragan:lock:{resource_id}", timeout=LOCK_SECONDS)
        return lock

    def _queue(self, record: RequestRecord) -> None:
        self._live.create(record.id, record.run)
        enqueue(self._redis, record.kind, record.id, record.run)

    def _position(self, record: RequestRecord) -> int | None:
        name, _ = ROUTES[record.kind]
        return queue(name, self._redis).get_job_position(rq_job_id(record.id, record.run))

    def _end_canceled(self, record: RequestRecord, state: Live) -> None:
        try:
            job = AllowListedJob.fetch(
                rq_job_id(record.id, record.run), connection=self._redis, serializer=JSONSerializer
            )
            job.delete()
        except NoSuchJobError:
            pass  # a worker has just taken it, and will find that its run is over
        earlier = self._store.read_manifest(record.id)
        # A resumed training that is cancelled before it goes on is still what it had come to.
        self._live.finish(
            record,
            state,
            Status.CANCELED,
            progress=state.progress,
            result=earlier.result if earlier else None,
            error=None,
            versions=earlier.versions if earlier else {},
        )

    def _older(self, kind: Kind, after: str | None) -> Iterator[Resource]:
        for resource_id in self._store.ids(kind):
            if after is None or resource_id < after:
                with suppress(NotFound):  # deleted since it was listed
                    yield self.get(resource_id)

    def _users(self, resource: Resource) -> Iterator[str]:
        user = {Kind.DATASET: Kind.TRAINING, Kind.TRAINING: Kind.GENERATION}.get(resource.kind)
        if user is not None:
            for resource_id in self._store.ids(user):
                if self._store.read_request(resource_id).request[resource.kind] == resource.id:
                    yield resource_id
