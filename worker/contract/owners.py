"""Whose jobs are under way, so that they can be counted, and so that the owners take turns while their jobs wait.

An owner is the name of an API key. What was asked for without one has no owner, is not counted, and passes nobody.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from redis import Redis

OWNERS = "ragan:owners"
"""The set of all who have, or had lately, something under way."""
COUNTED = 0.0
"""The score of a job that is under way; a higher one is that of a job whose request is still being written."""
ATTEMPTS = 5
"""The job that another one is to be put before may just have been taken by a worker."""

_MOVE = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 1 end
if redis.call('LINSERT', KEYS[1], 'BEFORE', ARGV[2], ARGV[1]) > 0 then return 1 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return 0
"""
"""Puts an entry before another one, at once: 1 if that was done or a worker has the entry already, else 0."""


def active_key(owner: str) -> str:
    """The sorted set of an owner's jobs that are under way, or have ended since it was last looked through."""
    return f"ragan:active:{owner}"


def count(redis: Redis, owner: str, resource_id: str) -> None:
    """A job of this owner is under way."""
    with redis.pipeline() as both:
        both.zadd(active_key(owner), {resource_id: COUNTED})
        both.sadd(OWNERS, owner)
        both.execute()


def take_turns(redis: Redis, queue_key: str, entry: str) -> None:
    """Move a queue's newest entry to where its owner's turn comes.

    Of each owner the first job waits in the first round, the second in the second, and a new one joins the end of its
    round: however many jobs one owner has queued, another's first waits for one of them at the most.
    """
    owners = _owners(redis)
    for _ in range(ATTEMPTS if owners else 0):
        waiting = [each.decode() for each in cast("list[bytes]", redis.lrange(queue_key, 0, -1))]
        later = _first_of_a_later_round(entry, waiting, owners)
        if later is None or redis.eval(_MOVE, 1, queue_key, entry, later):
            return


def _owners(redis: Redis) -> Mapping[str, str]:
    """The owner of each resource that is under way; nothing where nobody could pass another."""
    names = [name.decode() for name in cast("set[bytes]", redis.smembers(OWNERS))]
    if len(names) < 2:
        return {}
    with redis.pipeline(transaction=False) as reading:
        for name in names:
            reading.zrange(active_key(name), 0, -1)
        return {
            resource_id.decode(): name
            for name, resources in zip(names, reading.execute(), strict=True)
            for resource_id in resources
        }


def _first_of_a_later_round(entry: str, waiting: Sequence[str], owners: Mapping[str, str]) -> str | None:
    """The entry that another one is to be put before; None if that stands where it should."""
    by_owner = [owners.get(each.partition("-")[0]) for each in waiting]
    mine = owners.get(entry.partition("-")[0])
    if mine is None or entry not in waiting:
        return None
    place = waiting.index(entry)
    its_round = by_owner[:place].count(mine)
    rounds: Counter[str] = Counter()
    for each, owner in zip(waiting[:place], by_owner, strict=False):
        if owner is not None:
            if rounds[owner] > its_round:
                return each
            rounds[owner] += 1
    return None
