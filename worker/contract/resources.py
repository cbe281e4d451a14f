"""The one shape of everything that takes time: kinds, statuses, progress, and what a client sees of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from ulid import ULID

from worker.contract.errors import NotFound, Problem


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as records and answers show it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


class Status(StrEnum):
    """Where a job stands. No other word is used anywhere."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {Status.RUNNING, Status.QUEUED, Status.CANCELING, Status.SUCCEEDED, Status.FAILED, Status.CANCELED}
    ),
    Status.CANCELING: frozenset({Status.CANCELED, Status.SUCCEEDED, Status.FAILED}),
    Status.SUCCEEDED: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELED: frozenset({Status.QUEUED}),
}
"""What may follow what. A job whose worker died is started again; from a terminal status only a resume goes on."""


class Kind(StrEnum):
    """What a job makes."""

    DATASET = "dataset"
    TRAINING = "training"
    GENERATION = "generation"
    EVALUATION = "evaluation"
    STUDY = "study"
    READER_STUDY = "reader_study"

    @property
    def noun(self) -> str:
        """What a sentence calls it."""
        return self.replace("_", " ")

    @property
    def prefix(self) -> str:
        return _PLACES[self].prefix

    @property
    def collection(self) -> str:
        """Its path below /v1 and its folder in the store."""
        return _PLACES[self].collection

    def new_id(self) -> str:
        """Opaque, sortable by creation, unique: the prefix and a ULID in lower case."""
        return f"{self.prefix}_{str(ULID()).lower()}"

    @classmethod
    def of(cls, resource_id: str) -> "Kind":
        """The kind that an id names; NotFound if it names none."""
        for kind, place in _PLACES.items():
            head, _, rest = resource_id.partition("_")
            if head == place.prefix and len(rest) == ULID_LENGTH and rest.isalnum() and rest.islower():
                return kind
        raise NotFound(f"{resource_id!r} is not an id of RaGAN; ids look like ds_…, tr_…, gn_…, ev_…, st_… or rs_….")


@dataclass(frozen=True)
class _Place:
    prefix: str
    collection: str


_PLACES: Mapping[Kind, _Place] = {
    Kind.DATASET: _Place("ds", "datasets"),
    Kind.TRAINING: _Place("tr", "trainings"),
    Kind.GENERATION: _Place("gn", "generations"),
    Kind.EVALUATION: _Place("ev", "evaluations"),
    Kind.READER_STUDY: _Place("rs", "reader-studies"),
    Kind.STUDY: _Place("st", "studies"),
}
ULID_LENGTH = 26


class Progress(BaseModel):
    """How far a job is; `rate` is in units per second over the last seconds."""

    model_config = ConfigDict(frozen=True)

    phase: str = Field(examples=["train"])
    done: int = Field(ge=0)
    total: int | None = Field(ge=0)
    unit: str = Field(examples=["steps"])
    percent: float | None = None
    rate: float | None = None
    eta_seconds: int | None = None


class Resource(BaseModel):
    """A dataset, training, generation, evaluation, study or reader study, as `GET` shows it."""

    id: str
    kind: Kind
    status: Status
    owner: str | None = Field(None, description="Name of the API key that made it; null if it was made without one.")
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    queue_position: int | None = Field(None, description="0 is next; null once it runs.")
    attempt: int = Field(0, description="How often the work was started; 0 while it waits for the first time.")
    request: dict[str, Any] = Field(description="The request with every default filled in.")
    progress: Progress | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = Field(None, description="A problem object once `status` is `failed`.")
    links: dict[str, str] = {}


class RequestRecord(BaseModel):
    """`request.json`: written before the job is acknowledged. `run` counts the times a training was resumed, from 1."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    created_at: Timestamp
    run: int = 1
    owner: str | None = None
    request: dict[str, Any]


class Manifest(BaseModel):
    """`manifest.json`: written last, when a job has ended. Valid only for the run that the request names."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    run: int
    status: Status
    started_at: Timestamp | None
    finished_at: Timestamp
    attempt: int
    progress: Progress | None
    result: dict[str, Any] | None
    error: Problem | None
    versions: dict[str, str]


class Live(BaseModel):
    """What Redis knows of a job that is queued or running."""

    model_config = ConfigDict(frozen=True)

    status: Status
    run: int
    attempt: int = 0
    epoch: str = Field("", description="Another one for each start of the work; whoever holds an older one is stale.")
    started_at: Timestamp | None = None
    progress: Progress | None = None


def view(record: RequestRecord, manifest: Manifest | None, live: Live | None) -> Resource:
    """One resource from its three records: a valid manifest is the truth, then what is live, then "queued"."""
    common = {
        "id": record.id,
        "kind": record.kind,
        "owner": record.owner,
        "created_at": record.created_at,
        "request": record.request,
    }
    if manifest is not None and manifest.run == record.run:
        ended = manifest.model_dump(include={"status", "started_at", "finished_at", "attempt", "progress", "result"})
        return Resource(**common, **ended, error=manifest.error.model_dump() if manifest.error else None)
    if live is not None and live.run == record.run:
        return Resource(**common, **live.model_dump(exclude={"run", "epoch"}))
    return Resource(**common, status=Status.QUEUED)
