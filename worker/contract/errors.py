"""Every error that RaGAN raises on purpose. A class's docstring is its title; its name gives the problem type.

Which HTTP status answers which error is decided in `app.errors` alone.
"""

import re
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(description="JSON pointer into the request body, as a URI fragment.", examples=["#/where/age"])
    detail: str = Field(description="What is wrong with it and what would be right.")


class Problem(BaseModel):
    """An error as it is stored and sent: RFC 9457 without the HTTP status, which the front end adds."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Stable path that names the kind of problem.", examples=["/problems/invalid-request"])
    title: str
    detail: str = Field(description="A sentence that says what to do.")
    errors: tuple[FieldError, ...] = ()


class RaganError(Exception):
    """RaGAN could not do this."""

    def __init__(self, detail: str | None = None, *, errors: Iterable[FieldError] = ()) -> None:
        self.detail = detail or self.title()
        self.errors = tuple(errors)
        super().__init__(self.detail)

    @classmethod
    def code(cls) -> str:
        """Kebab-case name of the class, the last part of the problem type."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0]

    def problem(self) -> Problem:
        return Problem(type=f"/problems/{self.code()}", title=self.title(), detail=self.detail, errors=self.errors)


class MalformedRequest(RaganError):
    """The request could not be read."""


class InvalidRequest(RaganError):
    """The request asks for something impossible."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """The error for a single field; `pointer` as in `#/where/age/min`."""
        return cls(detail, errors=[FieldError(pointer=pointer, detail=detail)])

    def below(self, pointer: str) -> Self:
        """The same of a request that is part of another one, where it has this pointer, as in `#/generator`."""
        moved = (f"{pointer}{error.pointer.removeprefix('#')}" for error in self.errors)
        errors = [FieldError(pointer=to, detail=error.detail) for to, error in zip(moved, self.errors, strict=True)]
        return type(self)(self.detail, errors=errors)


class UnknownSource(InvalidRequest):
    """There is no such source."""


class UnknownFamily(InvalidRequest):
    """There is no such family of models."""


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key was used for another request."""


class DuplicateFamily(RaganError):
    """Two families of models have the same name."""


class KeyRequired(RaganError):
    """A valid API key is needed."""


class NotAllowed(RaganError):
    """The API key does not allow this."""


class WrongHost(RaganError):
    """The service does not go by this name."""


class ForeignPage(RaganError):
    """A web page of another site asks for this."""


class NotFound(RaganError):
    """There is nothing under this id."""


class NotAcceptable(RaganError):
    """There is no such representation."""


class WrongState(RaganError):
    """The resource is not in a state that allows this."""


class InUse(RaganError):
    """Other resources need this one."""


class RangeNotSatisfiable(RaganError):
    """The range is outside of what there is."""


class QuotaUsedUp(RaganError):
    """The API key's quota is used up."""


class AboveQuota(QuotaUsedUp):
    """The request is larger than the API key's quota allows."""


class QueueFull(RaganError):
    """The queue is full."""


class QueueUnavailable(RaganError):
    """The queue cannot be reached."""


class NoWorkerAnswers(QueueUnavailable):
    """No worker answers."""


class StoreUnavailable(RaganError):
    """The store cannot be used."""


class DiskFull(StoreUnavailable):
    """The disk of the store is full."""


class KeysUnusable(StoreUnavailable):
    """The file of API keys cannot be used."""


class FamiliesUnpublished(RaganError):
    """No worker has published its families of models yet."""


class RedisMissing(RaganError):
    """There is no Redis server to start."""


class SourceUnreadable(RaganError):
    """The source's metadata cannot be read."""


class ImageUnreadable(RaganError):
    """The image cannot be read."""


class NoUsableImages(RaganError):
    """No image of the selection can be used."""


class TrainingDiverged(RaganError):
    """The training diverged."""


class PatientLeak(RaganError):
    """A patient who is tested on was about to be learnt from."""


class CheckpointMissing(RaganError):
    """There is no such checkpoint."""


class DevicesUnavailable(RaganError):
    """This worker has fewer devices than the job asks for."""


class DeviceMemoryExhausted(RaganError):
    """The device ran out of memory."""


class WorkerDied(RaganError):
    """The worker process died."""


class InternalError(RaganError):
    """Something unexpected went wrong."""
