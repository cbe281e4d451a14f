"""Submit, look at, cancel, resume, delete: the only code of the front end that knows of the queue."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError
from redis.lock import Lock
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer

from app.idempotency import KeyedRequest
from app.quotas import Admission
from worker.contract.errors import InUse, NotFound, QueueUnavailable, WrongState
from worker.contract.live import Event, LiveJobs, utc_now
from worker.contract.queues import ROUTES, AllowListedJob, enqueue, queue, rq_job_id
from worker.contract.resources import Kind, Live, RequestRecord, Resource, Status, view
from worker.contract.store import Store

MADE_FROM: Mapping[Kind, tuple[Kind, ...]] = {
    Kind.DATASET: (Kind.TRAINING, Kind.STUDY),
    Kind.TRAINING: (Kind.GENERATION, Kind.EVALUATION, Kind.READER_STUDY),
}
"""What needs what: a resource cannot go while others were made from it."""
LOCK_LOOK_SECONDS = 0.01
LOCK_SECONDS = 30
"""After so long a front end that died in the middle of a change no longer keeps others from theirs."""


class Jobs:
    """The resources that jobs make, whatever their kind."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        live: LiveJobs,
        admission: Admission,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._redis = redis
        self._store = store
        self._live = live
        self._admission = admission
        self._clock = clock

    def submit(
        self,
        kind: Kind,
        complete: Callable[[], BaseModel],
        *,
        keyed: KeyedRequest | None = None,
        owner: str | None = None,
    ) -> Resource:
        """Write down what is asked for, then queue it; if it cannot be queued, nothing of it remains.

        Args:
            kind: what is to be made.
            complete: checks the request and fills it in; not called for what is there already.
            keyed: the request with the key that it was sent under; what it has made before is the answer.
            owner: name of the API key that it was sent with.

        Raises:
            IdempotencyKeyReused: under this key, another request has made something.
            RaganError: whatever `complete` refuses the request with, or the admission the job.
        """
        if keyed is None:
            return self._make(kind, complete(), owner)
        if made := self._made_by(keyed):
            return made
        request = complete()
        with self._one_at_a_time(keyed.key_sha256):
            return self._made_by(keyed) or self._make(kind, request, owner, keyed)

    def get(self, resource_id: str) -> Resource:
        """A resource as it is now; NotFound if there is none. What has ended is read without Redis."""
        record = self._store.read_request(resource_id)
        return self._ended(record) or self._active(record)

    def events(self, resource_id: str, after: str = "0-0") -> list[Event]:
        """A job's events so far, those after an event id; of a job that has ended, without Redis if need be."""
        try:
            return self._live.events(resource_id, after)
        except RedisError:
            if self._ended(self._store.read_request(resource_id)) is None:
                raise
            return self._live.archived(resource_id, after)

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
        """Newest first: at most `limit` resources older than `after`, and whether there are more.

        QueueUnavailable if one of them has not ended, and Redis does not answer.
        """
        found: list[Resource] = []
        try:
            for resource in self._older(kind, after, only_ended=status is not None and status.terminal):
                if status is None or resource.status is status:
                    if len(found) == limit:
                        return found, True
                    found.append(resource)
        except RedisError as error:
            raise QueueUnavailable(
                "Redis does not answer, and how those stand that have not ended, only Redis knows. Try again in a few "
                "seconds, or ask for what has ended: status=succeeded, failed or canceled."
            ) from error
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
            self._admission.admit(again)
            self._store.write_request(again)
            try:
                self._queue(again)
            except BaseException:
                self._store.write_request(record)
                raise
            return self.get(resource_id)

    def delete(
        self, resource_id: str, *, cascade: bool = False, allow: Callable[[RequestRecord], object] = lambda _: None
    ) -> None:
        """Remove a resource that has ended, and with `cascade` first what was made from it.

        Args:
            resource_id: what is to go.
            cascade: remove what was made from it, too, and what was made from that.
            allow: asked for each of those before anything goes, and raises if it must stay.

        Raises:
            InUse: something was made from it, without `cascade`, or just now.
            WrongState: it is active, or with `cascade` one of those is.
        """
        with self._one_at_a_time(resource_id) as lock:
            record = self._store.read_request(resource_id)
            dependants = list(self._dependants(record)) if cascade else []
            self._check_ended(resource_id, *(each.id for each in dependants))
            for each in dependants:
                allow(each)
            # What others were made from goes after them: should this be cut short, nothing is left without it.
            for each in dependants:
                with suppress(NotFound), self._one_at_a_time(each.id):  # deleted by somebody else
                    self._check_ended(each.id)
                    self._remove(each.id)
                lock.reacquire()
            # With cascade, too: that may have taken long, and somebody may have made something from it again.
            if needing := [each.id for each in self._dependants(record)]:
                raise InUse(
                    f"{resource_id} is needed by {', '.join(needing)}: delete these first, or all with cascade=true."
                )
            self._remove(resource_id)

    def _one_at_a_time(self, resource_id: str) -> Lock:
        """Of two clients that change a resource at once, the second sees what the first has made of it."""
        lock: Lock = self._redis.lock(f"ragan:lock:{resource_id}", timeout=LOCK_SECONDS, sleep=LOCK_LOOK_SECONDS)
        return lock

    def _made_by(self, keyed: KeyedRequest) -> Resource | None:
        """What was made under a key, unless it is gone, or was never made, since it could not be queued."""
        made = self._store.read_keyed(keyed.key_sha256)
        if made is None:
            return None
        try:
            resource = self.get(made.id)
        except NotFound:
            return None
        keyed.check_same(made)
        return resource

    def _make(self, kind: Kind, request: BaseModel, owner: str | None, keyed: KeyedRequest | None = None) -> Resource:
        moment = self._clock()
        record = RequestRecord(
            id=kind.new_id(), kind=kind, created_at=moment, request=request.model_dump(mode="json"), owner=owner
        )
        self._admission.admit(record)
        if keyed is not None:
            # Before the request itself, which would else be made once more if this process died in between.
            self._store.write_keyed(keyed.key_sha256, keyed.made(record.id), moment.date())
        self._store.write_request(record)
        try:
            self._queue(record)
        except BaseException:
            self._store.delete(record.id)
            raise
        return self.get(record.id)

    def _queue(self, record: RequestRecord) -> None:
        self._live.create(record.id, record.run)
        enqueue(self._redis, record.kind, record.id, record.run, owner=record.owner)

    def _ended(self, record: RequestRecord) -> Resource | None:
        manifest = self._store.read_manifest(record.id)
        return view(record, manifest, None) if manifest is not None and manifest.run == record.run else None

    def _active(self, record: RequestRecord) -> Resource:
        live = self._live.read(record.id)
        if live is None:  # it may have ended since the manifest was looked for
            return view(record, self._store.read_manifest(record.id), None)
        resource = view(record, None, live)
        if live.status is Status.QUEUED:
            resource.queue_position = self._position(record)
        return resource

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

    def _older(self, kind: Kind, after: str | None, *, only_ended: bool) -> Iterator[Resource]:
        for resource_id in self._store.ids(kind):
            if after is None or resource_id < after:
                with suppress(NotFound):  # deleted since it was listed
                    record = self._store.read_request(resource_id)
                    if resource := self._ended(record):
                        yield resource
                    elif not only_ended:
                        yield self._active(record)

    def _dependants(self, record: RequestRecord) -> Iterator[RequestRecord]:
        """What was made from a resource, directly or not, each once, and before each what was made from it."""
        seen: set[str] = set()
        for each in self._made_from(record):
            if each.id not in seen:
                seen.add(each.id)
                yield each

    def _made_from(self, record: RequestRecord) -> Iterator[RequestRecord]:
        for resource_id in (each for kind in MADE_FROM.get(record.kind, ()) for each in self._store.ids(kind)):
            with suppress(NotFound):  # deleted since it was listed
                dependant = self._store.read_request(resource_id)
                if record.id in _needs(dependant.request):
                    yield from self._made_from(dependant)
                    yield dependant

    def _check_ended(self, *resource_ids: str) -> None:
        """WrongState, naming them, if some are active."""
        resources = [self.get(resource_id) for resource_id in resource_ids]
        if active := [f"{each.id} is {each.status}" for each in resources if not each.status.terminal]:
            which = "it" if len(active) == 1 else "these"
            raise WrongState(f"{', '.join(active)}: cancel {which} first, then delete.")

    def _remove(self, resource_id: str) -> None:
        self._admission.release(self._store.read_request(resource_id))
        self._store.delete(resource_id)
        self._live.forget(resource_id)


def _needs(request: Mapping[str, Any]) -> set[str]:
    """The ids of what a request is made from; of a generation that balances a dataset, several trainings."""
    of_classes = (request.get("trainings") or {}).values()
    return {request.get(Kind.DATASET), request.get(Kind.TRAINING), *(each["training"] for each in of_classes)}
