"""Whether one more job may be queued: what its owner may ask for, and what the queues may hold.

Nothing is counted by walking through the store. Redis keeps, by owner, which jobs are under way (`contract.owners`) and
how large each resource is. A job that has ended is found out, and its folder measured, when its owner next asks for
something; what is deleted is taken off. If Redis loses that, what is under way is counted again as it is queued again,
and sizes are measured anew, once, by a thread; until that is done, more may be taken than is allowed.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from app.keys import Keyring, Quotas, Scope
from worker.contract.errors import AboveQuota, FieldError, NotFound, QueueFull, QuotaUsedUp
from worker.contract.live import LiveJobs, utc_now
from worker.contract.owners import OWNERS, active_key, limit_running
from worker.contract.queues import QueueName, queue
from worker.contract.resources import Kind, RequestRecord
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.contract.study_requests import StudyRequest

RESERVED_SECONDS = 30
"""For so long a place is kept for a job whose request is being written."""
MEASURED = "ragan:stored"
"""Is there while Redis knows what is stored, or somebody is measuring it."""
MEASURING_SECONDS = 24 * 3600
TOTAL = "total"
"""Among the sizes of an owner's resources, their sum."""
SIZE_FIELDS: Mapping[Kind, Mapping[str, str]] = {
    Kind.TRAINING: {"steps": "steps"},
    Kind.GENERATION: {"images": "count"},
    Kind.EVALUATION: {"images": "count"},
    Kind.STUDY: {"steps": "generator/steps", "images": "amounts"},
    Kind.READER_STUDY: {"images": "count"},
}
"""The quotas that bound a single request of a kind, and the field that each bounds: of a list, its largest number."""

_KEEP_SIZE = """
local before = redis.call('HGET', KEYS[1], ARGV[2]) or 0
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3] - before)
if ARGV[3] == '0' then redis.call('HDEL', KEYS[1], ARGV[2]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) end
"""
"""Keeps the size of a resource, and the sum, at once: the sum is right whoever measures what, and how often."""

log = logging.getLogger("ragan.quotas")


class Admission:
    """Decides, job by job. Admins have the quotas that were set for their key, and else none."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        live: LiveJobs,
        keyring: Keyring,
        settings: Settings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._redis = redis
        self._store = store
        self._live = live
        self._keyring = keyring
        self._settings = settings
        self._clock = clock

    def admit(self, record: RequestRecord) -> None:
        """Keep a place for a job until it is queued.

        Raises:
            QueueFull: as many jobs wait as may wait. Of several who ask at once, all may find the last place.
            AboveQuota: the request itself is too large for its owner.
            QuotaUsedUp: the owner has too much under way, or stored.
        """
        waiting = sum(queue(name, self._redis).count for name in QueueName)
        if waiting >= self._settings.queue_limit:
            raise QueueFull(f"{waiting:,} jobs wait, and no more than {self._settings.queue_limit:,} may: try later.")
        if record.owner is not None:
            quotas = self._quotas_of(record.owner)
            _check_size(record, record.owner, quotas)
            self._reserve(record, record.owner, quotas)
            limit_running(self._redis, record.owner, quotas.running)

    def release(self, record: RequestRecord) -> None:
        """A resource is about to be deleted: it takes up nothing any more."""
        if record.owner is not None:
            self._redis.zrem(active_key(record.owner), record.id)
            self._keep_size(record.owner, record.id, 0)

    def measure_everything(self) -> None:
        """Measure all that has ended, when Redis knows nothing of it."""
        for resource_id in (each for kind in Kind for each in self._store.ids(kind)):
            with suppress(NotFound):  # deleted since it was listed
                record = self._store.read_request(resource_id)
                if record.owner is not None and self._store.read_manifest(resource_id) is not None:
                    self._measure(record.owner, resource_id)
        self._redis.set(MEASURED, "1")

    def _quotas_of(self, owner: str) -> Quotas:
        key = self._keyring.named(owner)
        given = key.quotas if key else Quotas()
        if key and key.scope is Scope.ADMIN:
            return given
        usual = {name: getattr(self._settings, f"quota_{name}") for name in Quotas.model_fields}
        return Quotas(**usual | given.model_dump(exclude_none=True))

    def _reserve(self, record: RequestRecord, owner: str, quotas: Quotas) -> None:
        """Of two who ask at once for the last place, one gets it."""
        self._know_what_is_stored()
        key = active_key(owner)
        refusals: list[QuotaUsedUp] = []

        def change(transaction: Pipeline) -> None:
            now = self._clock().timestamp()
            listed = cast("list[tuple[bytes, float]]", transaction.zrange(key, 0, -1, withscores=True))
            settled = [each.decode() for each, until in listed if until < now]
            active = self._live.active(settled)
            ended = [each for each in settled if each not in active]
            for each in ended:
                self._measure(owner, each)
            others = {each.decode() for each, _ in listed} - {*ended, record.id}
            refusals[:] = [
                *self._stored_refusals(owner, quotas.bytes),
                *_jobs_refusals(owner, len(others), quotas.jobs),
            ]
            transaction.multi()
            if ended:
                transaction.zrem(key, *ended)
            if not refusals:
                transaction.zadd(key, {record.id: now + RESERVED_SECONDS})
                transaction.sadd(OWNERS, owner)

        self._redis.transaction(change, key)
        if refusals:
            raise refusals[0]

    def _stored_refusals(self, owner: str, limit: int | None) -> Iterable[QuotaUsedUp]:
        used = int(cast("bytes | None", self._redis.hget(_stored_key(owner), TOTAL)) or 0)
        if limit is not None and used >= limit:
            yield QuotaUsedUp(
                f"The quota `bytes` of the key {owner!r} is used up: what it made takes {used:,} of {limit:,} bytes. "
                "Delete something."
            )

    def _measure(self, owner: str, resource_id: str) -> None:
        self._keep_size(owner, resource_id, _bytes_below(self._store.folder(resource_id)))

    def _keep_size(self, owner: str, resource_id: str, size: int) -> None:
        self._redis.eval(_KEEP_SIZE, 1, _stored_key(owner), TOTAL, resource_id, str(size))

    def _know_what_is_stored(self) -> None:
        if self._redis.set(MEASURED, "1", nx=True, ex=MEASURING_SECONDS):
            Thread(target=self._measure_in_background, daemon=True).start()

    def _measure_in_background(self) -> None:
        try:
            self.measure_everything()
        except (RedisError, OSError) as error:
            log.warning("what is stored could not be measured, and will be tomorrow: %s", error)


def _check_size(record: RequestRecord, owner: str, quotas: Quotas) -> None:
    if record.kind is Kind.STUDY and not StudyRequest.model_validate(record.request).needs_generators:
        return  # its sizes are those of generators
    of_what = "generator of a study" if record.kind is Kind.STUDY else record.kind.noun
    for name, field in SIZE_FIELDS.get(record.kind, {}).items():
        asked, limit = _largest(record.request, field), getattr(quotas, name)
        if limit is not None and asked > limit:
            detail = (
                f"The quota `{name}` of the key {owner!r} allows {limit:,} in one {of_what}, and this asks for "
                f"{asked:,}: ask for less, or for a higher quota."
            )
            raise AboveQuota(detail, errors=[FieldError(pointer=f"#/{field}", detail=detail)])


def _largest(request: Mapping[str, Any], field: str) -> int:
    value: Any = request
    for name in field.split("/"):
        value = value[name]
    return max(value) if isinstance(value, list) else int(value)


def _jobs_refusals(owner: str, used: int, limit: int | None) -> Iterable[QuotaUsedUp]:
    if limit is not None and used >= limit:
        yield QuotaUsedUp(
            f"The quota `jobs` of the key {owner!r} is used up: {used:,} of {limit:,} jobs are queued or running. "
            "Wait for the end of one, or cancel one."
        )


def _stored_key(owner: str) -> str:
    return f"{MEASURED}:{owner}"


def _bytes_below(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # deleted since it was listed
            total += file.lstat().st_size
    return total
