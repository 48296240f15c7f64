"""What the system takes while it stands there: memory after work, processor time while idle, seconds to start."""

import time
from collections.abc import Iterator, Mapping
from typing import Final

import redis

from benchmarks import stack
from benchmarks.bench import Bench
from benchmarks.processes import Memory, Processes
from benchmarks.programs import private_redis, program, wait_for
from benchmarks.results import Figure, Goal
from shared.adapters import keys

PART: Final = "footprint"

_STARTS: Final = 3
_IDLE_S: Final = 30.0
_MINUTE_S: Final = 60.0
_BEFORE: Final = (("640x480", 100, ""), ("4000x3000", 10, ", after 12 megapixels"))
"""What is asked before memory is looked at, since a process that has seen nothing yet is small, and what that adds to
the figures' names."""


def measure(bench: Bench) -> Iterator[Figure]:
    """Memory of a worker and of the gateway, processor time of an idle minute, seconds to be ready.

    Raises: WrongAnswer, Replaced, NotReady.
    """
    starts = []
    for _ in range(min(bench.effort.rounds, _STARTS) - 1):
        with stack.running() as system:
            starts.append(system.start_s)
    with stack.running() as system:
        starts.append(system.start_s)
        for kind, requests, after in _BEFORE:
            expected = bench.expected(system.predict, kind, exact=False)
            bench.load(system.predict, kind, expected, 16, requests=bench.effort.of(requests))
            yield from _memory(system.processes.memory(), after)
        yield _idle(system.processes, bench.effort.share * _IDLE_S)
    yield Figure(part=PART, name="`darkroom up` until it is ready", unit="s", values=starts)
    yield Figure(
        part=PART,
        name="a worker until it is ready",
        unit="s",
        values=[_worker_start_s() for _ in range(min(bench.effort.rounds, _STARTS))],
        goal=Goal(bound="at most", limit=2),
    )


def _memory(found: Mapping[int, tuple[str, Memory]], after: str) -> Iterator[Figure]:
    workers = 2
    nothing = Memory(rss_mb=0, pss_mb=0)
    for name, roles, count, limit in (
        ("a worker with its decoder", ("worker", "decoder"), workers, None if after else 120),
        ("the gateway", ("gateway",), 1, None if after else 90),
        ("`darkroom up` itself", ("supervisor",), 1, None),
        ("Redis", ("redis",), 1, None),
    ):
        total = sum((memory for role, memory in found.values() if role in roles), start=nothing)
        for kind, megabytes, goal in (("PSS", total.pss_mb, limit), ("RSS", total.rss_mb, None)):
            yield Figure(
                part=PART,
                name=f"memory of {name}, {kind}{after}",
                unit="MB",
                values=[megabytes / count],
                goal=None if goal is None else Goal(bound="at most", limit=goal),
            )


def _idle(processes: Processes, seconds: float) -> Figure:
    time.sleep(seconds / 10)
    before, start = processes.read(), time.monotonic()
    time.sleep(seconds)
    spent = processes.read().since(before)
    minutes = (time.monotonic() - start) / _MINUTE_S
    return Figure(
        part=PART,
        name="processor time of an idle minute, all processes",
        unit="s",
        values=[sum(spent.values()) / minutes],
        rounds=[{f"{role}_s": cpu_s / minutes for role, cpu_s in spent.items()}],
        goal=Goal(bound="at most", limit=0.5),
    )


def _worker_start_s() -> float:
    with private_redis(append_only=True) as (_, url), redis.Redis.from_url(url) as client:
        start = time.monotonic()
        with program("-m", "worker", DARKROOM_REDIS_URL=url, DARKROOM_WORKER_PROCESSES="1") as process:
            # Its first beat comes once it has a session, a decoder and a store.
            wait_for(lambda: bool(client.exists(keys.WORKERS)), process)
            return time.monotonic() - start
