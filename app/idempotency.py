"""A request that is sent again, since its answer was lost, makes nothing again: the header Idempotency-Key."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel

from worker.contract.errors import IdempotencyKeyReused, InvalidRequest
from worker.contract.resources import Kind
from worker.contract.store import KeyedResource

_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True)
class KeyedRequest:
    """A request that was sent under a key, as digests: of the key with whom it belongs to, and of what is asked for."""

    key_sha256: str
    request_sha256: str

    @classmethod
    def of(cls, key: str, kind: Kind, request: BaseModel, *, scope: str) -> Self:
        """What tells this request from others; InvalidRequest for a key that cannot be.

        Args:
            key: as it was sent.
            kind: what is to be made.
            request: what is asked for, with its defaults, before it is filled in by what there is at the moment.
            scope: whose key it is: equal keys of different scopes have nothing to do with one another.
        """
        if not _VISIBLE_ASCII.fullmatch(key):
            raise InvalidRequest.at(
                "header: Idempotency-Key",
                f"An Idempotency-Key has 1 to 255 visible ASCII characters, and this one has {len(key)}, or others: "
                "send a UUID.",
            )
        return cls(_sha256([scope, key]), _sha256([kind, request.model_dump(mode="json")]))

    def made(self, resource_id: str) -> KeyedResource:
        """What is to be kept: this request has made that resource."""
        return KeyedResource(id=resource_id, request_sha256=self.request_sha256)

    def check_same(self, made: KeyedResource) -> None:
        """IdempotencyKeyReused if what was made under the key was another request's."""
        if made.request_sha256 != self.request_sha256:
            raise IdempotencyKeyReused(
                f"This Idempotency-Key was sent before, with another request, which made {made.id}: send a new key "
                "with each new request, and the same one only to repeat a request."
            )


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
