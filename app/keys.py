"""API keys: who may speak to the service, and for how much. A file holds their hashes, never the keys.

The hash is plain SHA-256: a key is 256 random bits, which nobody finds by trying, whatever a try costs. What makes
hashing slow, or salts it, protects passwords that people think of.
"""

import fcntl
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.contract.errors import InvalidRequest, KeysUnusable, NotFound, WrongState
from worker.contract.live import utc_now
from worker.contract.resources import Timestamp
from worker.contract.settings import Settings
from worker.contract.store import write_atomically
from worker.sources.names import no_such

PREFIX = "rgn_"
"""Every key begins so, which lets scanners for leaked secrets find one."""
RANDOM_BYTES = 32
FIRST_ADMIN = "admin"
FILE_NAME = "keys.json"
OWNER_ONLY = 0o600
OTHERS_MAY_WRITE = 0o022

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Scope(StrEnum):
    """What a key is for; each scope includes those before it, but for `blind`, which stands alone."""

    BLIND = "blind"
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        if Scope.BLIND in (self, needed):
            return self is needed
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(needed)


class Quotas(BaseModel):
    """How much one key may ask for; what is null is as the service's settings say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: int | None = Field(None, ge=0, description="Queued or running at once.")
    running: int | None = Field(None, ge=1, description="At work at once; the others wait.")
    steps: int | None = Field(None, ge=0, description="Of one training, in total.")
    images: int | None = Field(None, ge=0, description="Of one generation.")
    bytes: int | None = Field(None, ge=0, description="In the store.")


class Key(BaseModel):
    """What is known of a key: all but the key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scope: Scope
    sha256: str
    created_at: Timestamp
    quotas: Quotas = Quotas()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """The file as it was when it was read last."""

    signature: tuple[int, ...]
    keys: tuple[Key, ...]


class Keyring:
    """The keys in a file, read anew whenever it has changed, so that a revoked key stops at once."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._clock = clock
        self._seen: _Seen | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Keyring":
        """The keys of the service with these settings."""
        return cls(settings.keys_file or settings.store / FILE_NAME)

    @property
    def exists(self) -> bool:
        """Whether there is a file of keys, even an empty one: to revoke the last key must not open the door."""
        return self._path.exists()

    def all(self) -> tuple[Key, ...]:
        """Every key, oldest first; KeysUnusable if the file cannot be trusted."""
        try:
            status = self._path.stat()
            signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._seen is None or self._seen.signature != signature:
                if status.st_mode & OTHERS_MAY_WRITE:
                    raise KeysUnusable(f"{self._path} can be written by others: chmod 600 it, and look what is in it.")
                self._seen = _Seen(signature, _File.model_validate_json(self._path.read_bytes()).keys)
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            raise KeysUnusable(f"{self._path} cannot be read as a file of API keys: {_reason(error)}.") from error
        return self._seen.keys

    def named(self, name: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.all() if key.name == name), None)

    def find(self, secret: str) -> Key | None:
        """Whose key this is. How long it takes tells nothing of the keys there are but their number."""
        digest = _digest(secret)
        found = None
        for key in self.all():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def create(self, name: str, scope: Scope, quotas: Quotas | None = None) -> str:
        """Add a key and return it, for the only time; WrongState if the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} cannot be the name of a key: take up to 64 letters, digits and . _ @ -, a letter or digit "
                "first."
            )
        with self._changing() as keys:
            if any(key.name == name for key in keys):
                raise WrongState(f"There is a key {name!r} already: revoke it first, or take another name.")
            return self._add(keys, name, scope, quotas or Quotas())

    def create_first(self) -> str | None:
        """Add an admin key if there is no key at all, and return it; None if there is one."""
        if self.all():  # the file may be one that this user may only read
            return None
        with self._changing() as keys:
            return None if keys else self._add(keys, FIRST_ADMIN, Scope.ADMIN, Quotas())

    def revoke(self, name: str) -> None:
        """Remove a key; NotFound if there is none of this name."""
        with self._changing() as keys:
            if all(key.name != name for key in keys):
                raise NotFound(no_such("key", name, [key.name for key in keys]))
            keys[:] = [key for key in keys if key.name != name]

    def _add(self, keys: list[Key], name: str, scope: Scope, quotas: Quotas) -> str:
        secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        keys.append(Key(name=name, scope=scope, sha256=_digest(secret), created_at=self._clock(), quotas=quotas))
        return secret

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """The keys, to be changed in place and then written whole; of two who change them, one waits."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = list(self.all())
                yield keys
                content = _File(keys=tuple(keys)).model_dump(mode="json")
                write_atomically(self._path, json.dumps(content, indent=2).encode(), OWNER_ONLY)
        except OSError as error:
            raise KeysUnusable(
                f"{self._path} cannot be written ({error.strerror}): set RAGAN_KEYS_FILE to a file this user may write."
            ) from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _reason(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    # Not the message, which quotes what is in the file.
    first = error.errors(include_input=False)[0]
    return " ".join(["at", *map(str, first["loc"]), first["msg"]]) if first["loc"] else first["msg"]
