"""What Redis knows of jobs that are queued or running: status, progress, and the stream of events.

Redis is never the record. A job's end is written to the store first, then here; a key that is lost or stale
costs a progress bar, not a result.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from worker.contract import job_counters
from worker.contract.errors import Problem, StoreUnavailable, WrongState
from worker.contract.resources import TRANSITIONS, Live, Manifest, Progress, RequestRecord, Status
from worker.contract.store import Store

EVENTS_KEPT = 20_000
"""Events of one job that can be replayed; a client that comes later sees the newest so many."""
EVENTS_LINGER_SECONDS = 3600
"""How long an ended job's stream stays in Redis beside its file, for clients that are reading it."""
EVENTS_FILE = "events.jsonl"
END = "end"
"""The type of the event that closes a run."""

_EVENT_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_EVENT_NUMBERS_END = 2**64 - 1
"""Redis has one more, after which it finds nothing to look for and says so by an error."""

_Entries = list[tuple[bytes, dict[bytes, bytes]]]
_KEPT: dict[str, Any] = {"maxlen": EVENTS_KEPT, "approximate": True}


class Superseded(Exception):
    """Another process has this process's job by now, so that this one must not write anything any more."""


def utc_now() -> datetime:
    """The clock of every record, to the millisecond as records keep it; passed in, so that a test can hold it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Event:
    """`id` orders the events of one job over all its runs."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def order(self) -> tuple[int, int]:
        return event_order(self.id)


def event_order(event_id: str) -> tuple[int, int]:
    """An event id as two numbers that compare; ValueError if it is not one that Redis takes."""
    if not (match := _EVENT_ID.fullmatch(event_id)):
        raise ValueError(f"{event_id!r} is not one number, or two with a hyphen between them")
    order = int(match[1]), int(match[2] or 0)
    if max(order) >= _EVENT_NUMBERS_END:
        raise ValueError(f"{event_id!r} has a number that is not below {_EVENT_NUMBERS_END}")
    return order


class LiveJobs:
    """Statuses change only along `TRANSITIONS`, atomically: of two at once, one wins and the other is told."""

    def __init__(self, redis: "Redis", store: Store, clock: Callable[[], datetime] = utc_now) -> None:
        self._redis = redis
        self._store = store
        self._clock = clock

    def read(self, resource_id: str) -> Live | None:
        return _parse(self._redis.get(_job_key(resource_id)))

    def active(self, resource_ids: Sequence[str]) -> set[str]:
        """Those that are queued or running, asked for all at once."""
        if not resource_ids:
            return set()
        states = cast("list[bytes | None]", self._redis.mget([_job_key(each) for each in resource_ids]))
        return {each for each, state in zip(resource_ids, states, strict=True) if state is not None}

    def create(self, resource_id: str, run: int) -> None:
        """A job is queued, for the first time or again after it had ended."""
        self._redis.set(_job_key(resource_id), Live(status=Status.QUEUED, run=run).model_dump_json())
        self._redis.persist(events_key(resource_id))
        self.emit(resource_id, "status", {"status": Status.QUEUED})

    def check_epoch(self, resource_id: str, epoch: str) -> Live:
        """The state, for whoever works on the job since `epoch`; Superseded if another process does by now."""
        live = self.read(resource_id)
        if live is None or live.epoch != epoch:
            raise Superseded(f"Another process works on {resource_id} by now, or nobody has to any more.")
        return live

    def move(self, resource_id: str, run: int, to: Status, *, only_from: Iterable[Status] = tuple(Status)) -> Live:
        """Change the status; WrongState if it is not in `only_from`, may not be followed by `to`, or the run is over.

        Entering `running` counts an attempt and begins an epoch; a job that is handed back has not had its attempt.
        """
        allowed = {status for status in only_from if to in TRANSITIONS[status]}
        moved: list[Live] = []

        def change(transaction: "Pipeline") -> None:
            moved.clear()
            live = _parse(transaction.get(_job_key(resource_id)))
            if live is None or live.run != run or live.status not in allowed:
                state = live.status if live and live.run == run else "over"
                raise WrongState(f"{resource_id} is {state}: it cannot become {to} now.")
            update: dict[str, Any] = {"status": to}
            if to is Status.RUNNING:
                started_at = live.started_at or self._clock()
                update |= {"attempt": live.attempt + 1, "started_at": started_at, "epoch": uuid.uuid4().hex}
            elif to is Status.QUEUED:
                update |= {"attempt": live.attempt - 1}
            moved.append(live.model_copy(update=update))
            transaction.multi()
            transaction.set(_job_key(resource_id), moved[0].model_dump_json())

        self._redis.transaction(change, _job_key(resource_id))
        if not to.terminal:  # `end` announces those, once the manifest is written
            self.emit(resource_id, "status", {"status": to, "attempt": moved[0].attempt})
        return moved[0]

    def report(self, resource_id: str, epoch: str, progress: Progress) -> None:
        """Show how far a running job is; of a process whose epoch is over, nothing is shown."""

        def change(transaction: "Pipeline") -> None:
            live = _parse(transaction.get(_job_key(resource_id)))
            transaction.multi()
            if live is not None and live.epoch == epoch and not live.status.terminal:
                updated = live.model_copy(update={"progress": progress})
                transaction.set(_job_key(resource_id), updated.model_dump_json())
                event = _fields("progress", progress.model_dump(mode="json"))
                transaction.xadd(events_key(resource_id), event, **_KEPT)

        self._redis.transaction(change, _job_key(resource_id))

    def emit(self, resource_id: str, kind: str, data: dict[str, Any]) -> str:
        """Append an event and return its id."""
        identifier = self._redis.xadd(events_key(resource_id), _fields(kind, data), **_KEPT)
        return identifier.decode() if isinstance(identifier, bytes) else str(identifier)

    def finish(
        self,
        record: RequestRecord,
        state: Live,
        status: Status,
        *,
        progress: Progress | None,
        result: dict[str, Any] | None,
        error: Problem | None,
        versions: dict[str, str],
    ) -> None:
        """Record how a run ended: the manifest first, which is the truth, then Redis, which only tells of it."""
        now = self._clock()
        # A full disk then has room to write down that it was full.
        self._store.drop_ballast(record.id)
        self._store.write_manifest(
            Manifest(
                id=record.id,
                kind=record.kind,
                run=record.run,
                status=status,
                started_at=state.started_at,
                finished_at=now,
                attempt=state.attempt,
                progress=progress,
                result=result,
                error=error,
                versions=versions,
            )
        )
        took = (now - state.started_at).total_seconds() if state.started_at else None
        job_counters.count(self._redis, record.kind, status, took)
        self.end(record.id, record.run, status)

    def end(self, resource_id: str, run: int, status: Status) -> None:
        """The manifest of a run is written: close the event stream, keep it as a file, and let Redis forget the job.

        Whoever read the manifest may have resumed the training by now: what belongs to the next run is left alone.
        """

        def close(transaction: "Pipeline") -> None:
            for kind in ("status", END):
                transaction.xadd(events_key(resource_id), _fields(kind, {"status": status}), **_KEPT)

        def forget(transaction: "Pipeline") -> None:
            transaction.expire(events_key(resource_id), EVENTS_LINGER_SECONDS)
            transaction.delete(_job_key(resource_id))

        self._unless_later(resource_id, run, close)
        self._keep_events(resource_id)
        self._unless_later(resource_id, run, forget)

    def _keep_events(self, resource_id: str) -> None:
        events = self.events(resource_id)[-EVENTS_KEPT:]
        lines = (json.dumps(asdict(event)) + "\n" for event in events)
        try:
            self._store.publish_bytes("".join(lines).encode(), resource_id, EVENTS_FILE)
        except StoreUnavailable:
            if self._store.has(resource_id):
                raise
        if not self._store.has(resource_id):  # deleted since its manifest was written; the file made its folder anew
            with suppress(FileNotFoundError):
                self._store.delete(resource_id)

    def _unless_later(self, resource_id: str, run: int, commands: Callable[[Pipeline], None]) -> None:
        """Send commands all at once, but not when a later run has begun."""

        def change(transaction: "Pipeline") -> None:
            live = _parse(transaction.get(_job_key(resource_id)))
            transaction.multi()
            if live is None or live.run <= run:
                commands(transaction)

        self._redis.transaction(change, _job_key(resource_id))

    def events(self, resource_id: str, after: str = "0-0") -> list[Event]:
        """Everything after an event id, from the file of earlier runs and from the stream."""
        archived = self.archived(resource_id, after)
        newest = archived[-1].id if archived else after
        entries = self._redis.xrange(events_key(resource_id), min=f"({newest}")
        return archived + [parse_event(identifier, fields) for identifier, fields in cast("_Entries", entries)]

    def archived(self, resource_id: str, after: str = "0-0") -> list[Event]:
        """The events after an id of the runs that have ended, read without Redis."""
        start = event_order(after)
        file = self._store.folder(resource_id) / EVENTS_FILE
        try:
            lines = file.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [event for event in (Event(**json.loads(line)) for line in lines) if event.order > start]

    def forget(self, resource_id: str) -> None:
        """A deleted resource leaves nothing behind."""
        self._redis.delete(_job_key(resource_id), events_key(resource_id))


def parse_event(identifier: bytes | str, fields: dict[Any, Any]) -> Event:
    """An entry of the Redis stream as an event."""
    texts = {_text(name): _text(value) for name, value in fields.items()}
    return Event(id=_text(identifier), type=texts["type"], data=json.loads(texts["data"]))


def _parse(stored: Any) -> Live | None:
    return None if stored is None else Live.model_validate_json(stored)


def _fields(kind: str, data: dict[str, Any]) -> dict[Any, Any]:
    return {"type": kind, "data": json.dumps(data)}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _job_key(resource_id: str) -> str:
    return f"ragan:job:{resource_id}"


def events_key(resource_id: str) -> str:
    """The Redis stream that holds a job's events."""
    return f"ragan:events:{resource_id}"
