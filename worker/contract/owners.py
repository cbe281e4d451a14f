"""Whose jobs are under way, so that they can be counted, and so that the owners take turns while their jobs wait.

An owner is the name of an API key. What was asked for without one has no owner, is not counted, and passes nobody.

An owner may have no more than so many jobs at work; what is above that stays in the queue, and others pass it. What is
at work is looked up where RQ keeps it, which forgets what a worker had that died.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from redis import Redis

OWNERS = "ragan:owners"
"""The set of all who have, or had lately, something under way."""
COUNTED = 0.0
"""The score of a job that is under way; a higher one is that of a job whose request is still being written."""
RUNNING_LIMITS = "ragan:running-limits"
"""How many jobs each owner may have at work; who is not in it may have any number."""
ATTEMPTS = 5
"""The job that another one is to be put before may just have been taken by a worker."""

_ACTIVE = "ragan:active:"
_MOVE = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 1 end
if redis.call('LINSERT', KEYS[1], 'BEFORE', ARGV[2], ARGV[1]) > 0 then return 1 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return 0
"""
"""Puts an entry before another one, at once: 1 if that was done or a worker has the entry already, else 0."""

_TAKE = """
local waiting = redis.call('LRANGE', KEYS[1], 0, -1)
if #waiting == 0 then return false end
local limits = redis.call('HGETALL', KEYS[3])
local at_work = {}
if #limits > 0 then
    for index = 4, #KEYS do
        local is_list = redis.call('TYPE', KEYS[index]).ok == 'list'
        for _, each in ipairs(redis.call(is_list and 'LRANGE' or 'ZRANGE', KEYS[index], 0, -1)) do
            at_work[string.match(each, '^[^-]+')] = true
        end
    end
end
local held = {}
for index = 1, #limits, 2 do
    local active, count = ARGV[1] .. limits[index], 0
    for resource in pairs(at_work) do
        if redis.call('ZSCORE', active, resource) then count = count + 1 end
    end
    if count >= tonumber(limits[index + 1]) then held[#held + 1] = active end
end
local function may_start(resource)
    if at_work[resource] then return true end
    for _, active in ipairs(held) do
        if redis.call('ZSCORE', active, resource) then return false end
    end
    return true
end
for _, entry in ipairs(waiting) do
    if may_start(string.match(entry, '^[^-]+')) then
        redis.call('LREM', KEYS[1], 1, entry)
        redis.call('RPUSH', KEYS[2], entry)
        return entry
    end
end
return ''
"""
"""Moves the first entry whose owner may have one more job at work from one list to another, all at once: of two workers
that take at the same time, the second sees what the first has taken. The empty string if there is none among those that
wait. The next turn of a job that is at work may always start."""


def active_key(owner: str) -> str:
    """The sorted set of an owner's jobs that are under way, or have ended since it was last looked through."""
    return f"{_ACTIVE}{owner}"


def count(redis: Redis, owner: str, resource_id: str) -> None:
    """A job of this owner is under way."""
    with redis.pipeline() as both:
        both.zadd(active_key(owner), {resource_id: COUNTED})
        both.sadd(OWNERS, owner)
        both.execute()


def limit_running(redis: Redis, owner: str, limit: int | None) -> None:
    """From now on, so many of an owner's jobs may be at work at once; None: any number."""
    if limit is None:
        redis.hdel(RUNNING_LIMITS, owner)
    else:
        redis.hset(RUNNING_LIMITS, owner, str(limit))


def take(redis: Redis, queue_key: str, taken_key: str, at_work: Iterable[str]) -> bytes | None:
    """Move the first job that may be at work from a queue to what a worker has taken.

    Args:
        redis: where it all is.
        queue_key: the list of what waits.
        taken_key: the list of what was taken, and is not yet said to be at work.
        at_work: the keys of all such lists, and of RQ's sorted sets of what is at work.

    Returns:
        The entry; an empty one if all that waits has to wait on, None if nothing waits.
    """
    keys = [queue_key, taken_key, RUNNING_LIMITS, *at_work]
    return cast("bytes | None", redis.eval(_TAKE, len(keys), *keys, _ACTIVE))


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
