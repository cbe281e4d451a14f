"""Queues again what Redis has forgotten: of such a job the store has the request, and no manifest."""

from redis import Redis
from redis.exceptions import LockError
from rq.registry import StartedJobRegistry

from worker.contract.errors import NotFound
from worker.contract.live import LiveJobs
from worker.contract.queues import QueueName, enqueue, queue, rq_job_id
from worker.contract.resources import Kind, RequestRecord
from worker.contract.store import Store

SERVER_KEY = "ragan:server"
"""The Redis server whose jobs were last compared with the store: one that lost its data does not know itself."""
LOCK_SECONDS = 60


class Recovery:
    """Compares a Redis server with the store once after each of its starts, for it may have come back with less."""

    def __init__(self, redis: Redis, store: Store, live: LiveJobs) -> None:
        self._redis = redis
        self._store = store
        self._live = live
        self._suspects: set[str] = set()
        """What was missed at the last look."""

    def tend(self) -> list[str]:
        """To be called every few seconds; returns the resources that were queued again, most often none.

        A job is missed only at the second look: at the first, it may have been on its way from one list to another.
        StoreUnavailable if there is no store to look at.
        """
        server = str(self._redis.info("server")["run_id"])
        if self._redis.get(SERVER_KEY) == server.encode():
            self._suspects.clear()
            return []
        self._store.check()  # one that is not mounted looks empty
        try:
            with self._redis.lock("ragan:lock:recovery", timeout=LOCK_SECONDS, blocking=False):
                missing = self._missing()
                lost = [record for record in missing if record.id in self._suspects]
                for record in lost:
                    self._queue_again(record)
                self._suspects = {record.id for record in missing} - {record.id for record in lost}
                if not self._suspects:
                    self._redis.set(SERVER_KEY, server)
        except LockError:
            return []  # another worker is at it
        return [record.id for record in lost]

    def _missing(self) -> list[RequestRecord]:
        """What has not ended, and is neither queued nor worked on as far as Redis knows; oldest first."""
        known = self._known()
        return [record for record in self._unfinished() if _entry(record) not in known]

    def _unfinished(self) -> list[RequestRecord]:
        records = []
        for kind in Kind:
            for resource_id in reversed(self._store.ids(kind)):
                try:
                    record = self._store.read_request(resource_id)
                except NotFound:  # deleted since it was listed, or never acknowledged
                    continue
                manifest = self._store.read_manifest(resource_id)
                if manifest is None or manifest.run != record.run:
                    records.append(record)
        return records

    def _known(self) -> set[str]:
        """RQ's entries by resource and run, whatever their turn."""
        entries: list[str] = []
        for name in QueueName:
            waiting = queue(name, self._redis)
            entries += waiting.get_job_ids()
            entries += StartedJobRegistry(queue=waiting).get_job_ids(cleanup=False)
        return {entry.rpartition("-")[0] for entry in entries}

    def _queue_again(self, record: RequestRecord) -> None:
        live = self._live.read(record.id)
        if live is None or live.run != record.run:
            self._live.create(record.id, record.run)
        enqueue(self._redis, record.kind, record.id, record.run, owner=record.owner)


def _entry(record: RequestRecord) -> str:
    return rq_job_id(record.id, record.run).rpartition("-")[0]
