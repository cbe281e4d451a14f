"""How many clients the front end serves at once beside a training, and what a crash of Redis costs.

    python benchmarks/load.py [--full] [--json]

Everything is real: Redis with its log of all writes, the front end, and a worker that trains, as nice as `ragan up`
makes it. A thousand trainings are submitted; Redis is killed upon the last acknowledgement, started again, and all of
them looked for. Then clients poll them, each once a second, more and more of them until answers take too long, while
others watch the events of the training that runs. Clients are processes of their own, and tell how late they were
themselves.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from subprocess import Popen
from typing import Any, Self

import httpx
from harness import Report, options, rounds_of
from redis import Redis

from app.stack import WORKER_NICENESS
from worker.contract.live import EVENTS_FILE
from worker.contract.queues import QueueName, queue

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from machine import Machine, eventually

TRAINING = {"model": {"family": "dcgan64"}, "batch_size": 16, "steps": 1_000_000}
"""Takes both of two cores, steps several times a second, and is never done."""
SUBMISSIONS, SUBMITTERS = 1000, 8
POLLERS, STREAMS = 200, 50
SECONDS, MORE_SECONDS = 60, 15
"""Of the first round, and of those that follow it."""
MORE_POLLERS = 100
"""How many more each round has than the one before."""
ROUNDS, FULL_ROUNDS = 10, 20
SLOW_SECONDS = 0.25
"""A p99 beyond which the front end does not hold the load."""
PATIENCE_SECONDS = 10.0
"""A poll that takes longer is an error."""
CONNECT_SECONDS = 2.0
"""For so long clients connect before the first one asks."""


class Connection:
    """One client's, kept open. HTTP is spoken by hand: a library would take longer than what is to be measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status, *fields = (await self._reader.readuntil(b"\r\n\r\n")).lower().splitlines()
        length = next(int(field.partition(b":")[2]) for field in fields if field.startswith(b"content-length:"))
        return int(status.split()[1]), await self._reader.readexactly(length)

    async def lines(self, path: str) -> asyncio.StreamReader:
        """An event stream line by line; in HTTP/1.0, which does not cut it into chunks."""
        self._writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        await self._reader.readuntil(b"\r\n\r\n")
        return self._reader

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Submitted:
    """The ids that were acknowledged, seconds of each answer, of all, and what came in place of answers, how often."""

    ids: list[str]
    seconds: list[float]
    total_seconds: float
    errors: Mapping[str, int]


@dataclass(frozen=True)
class Polled:
    """Seconds from when each poll was due to its answer; by how much the clients themselves were late; errors."""

    seconds: list[float]
    late_seconds: list[float]
    errors: Mapping[str, int]


@dataclass(frozen=True)
class Watched:
    """What one stream received: ids in their order, and seconds from an event to its arrival once all were watching."""

    ids: list[str]
    seconds: list[float]


def submit(port: int, request: Mapping[str, Any]) -> Submitted:
    """Submit trainings, by a few clients as fast as they are acknowledged."""
    body = json.dumps(request).encode()
    ids: list[str] = []
    seconds: list[float] = []
    errors: Counter[str] = Counter()

    async def submitter(turns: Iterator[int]) -> None:
        connection = await Connection.open(port)
        for _ in turns:
            began = time.monotonic()
            status, answer = await connection.ask("POST", "/v1/trainings", body)
            seconds.append(time.monotonic() - began)
            if status == httpx.codes.ACCEPTED:
                ids.append(json.loads(answer)["id"])
            else:
                errors[str(status)] += 1
        connection.close()

    async def all_of_them() -> None:
        turns = iter(range(SUBMISSIONS))
        await asyncio.gather(*(submitter(turns) for _ in range(SUBMITTERS)))

    began = time.monotonic()
    asyncio.run(all_of_them())
    return Submitted(ids, seconds, time.monotonic() - began, errors)


def poll(port: int, paths: Sequence[str], pollers: int, seconds: float) -> Polled:
    """Ask once a second by each of so many clients, evenly spread over the second."""
    polled = Polled([], [], Counter())

    async def poller(index: int, due: float) -> None:
        connection = await Connection.open(port)
        end = due + seconds
        while due < end:
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
                polled.late_seconds.append(time.monotonic() - due)
            if trouble := await asked(connection, paths[index % len(paths)]):
                polled.errors[trouble] += 1
                connection.close()
                connection = await Connection.open(port)
            polled.seconds.append(time.monotonic() - due)
            due += 1
        connection.close()

    async def all_of_them() -> None:
        first = time.monotonic() + CONNECT_SECONDS
        await asyncio.gather(*(poller(index, first + index / pollers) for index in range(pollers)))

    asyncio.run(all_of_them())
    return polled


async def asked(connection: Connection, path: str) -> str | None:
    """What came in place of an answer, None if it was one."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, _ = await connection.ask("GET", path)
    except (OSError, EOFError, TimeoutError) as error:
        return type(error).__name__
    return None if status == httpx.codes.OK else str(status)


def watch(port: int, path: str) -> list[Watched]:
    """Follow a job's events to their end, by all streams at once."""

    async def watcher(everybody: asyncio.Barrier) -> Watched:
        connection = await Connection.open(port)
        watched = Watched([], [])
        lines = await connection.lines(path)
        await everybody.wait()
        began = time.time()
        async for line in lines:
            if line.startswith(b"id: "):
                identifier = line[len(b"id: ") :].decode().strip()
                watched.ids.append(identifier)
                if (happened := int(identifier.partition("-")[0]) / 1000) > began:
                    watched.seconds.append(time.time() - happened)
        connection.close()
        return watched

    async def all_of_them() -> list[Watched]:
        everybody = asyncio.Barrier(STREAMS)
        return await asyncio.gather(*(watcher(everybody) for _ in range(STREAMS)))

    return asyncio.run(all_of_them())


@dataclass(frozen=True)
class Usage:
    """What a process has taken so far, and holds."""

    cpu_seconds: float
    megabytes: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Linux only."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def percentile(seconds: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def start(machine: Machine) -> tuple[Popen[bytes], Popen[bytes], dict[str, Any]]:
    """Redis, the front end, and a training that takes steps."""
    redis, api = machine.start_redis(), machine.start_api()
    preparing = machine.start_worker(QueueName.PREPARE)
    dataset = machine.wait_for(machine.post("/v1/datasets", {"source": "phantom", "limit": 64, "image_size": 64}))
    preparing.kill()
    preparing.wait()
    training = machine.start_worker(QueueName.TRAIN)
    os.setpriority(os.PRIO_PROCESS, training.pid, WORKER_NICENESS)
    eventually(lambda: machine.http.get("/v1/models/dcgan64").status_code == httpx.codes.OK)
    running = machine.post("/v1/trainings", TRAINING | {"dataset": dataset["id"]})
    machine.wait_for_step(running, 1)
    return redis, api, running


def survive(report: Report, machine: Machine, redis: Popen[bytes], submitted: Submitted) -> None:
    """Kill Redis, and look for all that was acknowledged: in the list, and in the queue, until it is back there."""
    redis.kill()
    redis.wait()
    machine.start_redis()
    began = time.monotonic()
    listed = {each["id"] for page in pages(machine) for each in page}
    report.fact("after kill -9 of Redis, found in the list", len(listed & set(submitted.ids)))
    with Redis(unix_socket_path=str(machine.socket)) as connection:
        waiting = queue(QueueName.TRAIN, connection)

        def queued() -> set[str]:
            return {entry.partition("-")[0] for entry in waiting.get_job_ids()} & set(submitted.ids)

        report.fact("after kill -9 of Redis, found in the queue at once", len(queued()))
        eventually(lambda: len(queued()) == len(submitted.ids))
        report.fact("after kill -9 of Redis, all found in the queue after s", round(time.monotonic() - began, 1))


def pages(machine: Machine) -> Iterator[list[dict[str, Any]]]:
    """The list of all trainings."""
    query: dict[str, Any] = {"limit": 200}
    while True:
        page = machine.http.get("/v1/trainings", params=query).raise_for_status().json()
        yield page["data"]
        if not page["has_more"]:
            return
        query["after"] = page["next"]


def rounds_of_polls(
    clients: ProcessPoolExecutor, port: int, api: Popen[bytes], ids: Sequence[str], durations: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """A line of the table for each round, which lasts so many seconds; none after one that had too many pollers."""
    paths = [f"/v1/trainings/{each}" for each in ids]
    for round_number, seconds in enumerate(durations):
        pollers = POLLERS + round_number * MORE_POLLERS
        before, began = Usage.of(api.pid), time.monotonic()
        polling = clients.submit(poll, port, paths, pollers, seconds)
        wait([polling], CONNECT_SECONDS + seconds / 4)  # by then, all connections and threads are there
        early = Usage.of(api.pid)
        polled = polling.result()
        after, took = Usage.of(api.pid), time.monotonic() - began - CONNECT_SECONDS
        slowest = percentile(polled.seconds, 99)
        yield {
            "pollers": pollers,
            "polls": len(polled.seconds),
            "errors": sum(polled.errors.values()),
            **{f"p{percent} ms": percentile(polled.seconds, percent) for percent in (50, 95)},
            "p99 ms": slowest,
            "max ms": 1000 * max(polled.seconds),
            "clients late, p99 ms": percentile(polled.late_seconds, 99),
            "CPU of a core": (after.cpu_seconds - before.cpu_seconds) / took,
            "MB after a quarter": round(early.megabytes),
            "MB more at the end": after.megabytes - early.megabytes,
        }
        if slowest > 1000 * SLOW_SECONDS or polled.errors:
            return


def compare_streams(report: Report, streams: Sequence[Watched], file: Path) -> None:
    """What each stream received, beside what the file of events has."""
    kept = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    report.fact("event streams", len(streams))
    report.fact("events in the file", len(kept))
    report.fact("events that a stream lost, sum over streams", sum(len(set(kept) - set(each.ids)) for each in streams))
    report.fact("events that a stream got twice, sum", sum(len(each.ids) - len(set(each.ids)) for each in streams))
    report.fact("streams that are not the file, in its order", sum(each.ids != kept for each in streams))
    delays = [delay for each in streams for delay in each.seconds]
    report.fact("from an event to its arrival, p50 ms", round(percentile(delays, 50)))
    report.fact("from an event to its arrival, p99 ms", round(percentile(delays, 99)))


def main() -> None:
    arguments = options((__doc__ or "").splitlines()[0]).parse_args()
    report = Report("load", as_json=arguments.json)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        clients = stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
        (root / "sources").mkdir()
        machine = Machine(root)
        stack.callback(machine.close)
        redis, api, running = start(machine)

        submitted = clients.submit(submit, machine.port, running["request"]).result()
        report.fact("submissions acknowledged", len(submitted.ids))
        report.fact("submissions not acknowledged", dict(submitted.errors))
        report.fact("submissions a minute", round(60 * len(submitted.ids) / submitted.total_seconds))
        report.fact("submission, p99 ms", round(percentile(submitted.seconds, 99)))
        survive(report, machine, redis, submitted)

        streams = clients.submit(watch, machine.port, running["links"]["events"])
        more = rounds_of(arguments, ROUNDS, FULL_ROUNDS) - 1
        durations = [SECONDS, *[SECONDS if arguments.full else MORE_SECONDS] * more]
        lines = list(rounds_of_polls(clients, machine.port, api, submitted.ids, durations))
        report.listing("polls, once a second each", list(lines[0]), [list(line.values()) for line in lines])
        machine.post(running["links"]["cancel"])
        machine.wait_for(running, "canceled")
        file = machine.store / "trainings" / running["id"] / EVENTS_FILE
        eventually(file.exists)  # written when the streams have been told of the end
        compare_streams(report, streams.result(), file)
    report.finish()


if __name__ == "__main__":
    main()
