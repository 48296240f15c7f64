"""Against the server that tutorials build of FastAPI and Celery: the same pictures, the same rounds, side by side."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import httpx2

from benchmarks import stack
from benchmarks.bench import Bench
from benchmarks.cost import CORES, cost
from benchmarks.processes import Processes
from benchmarks.programs import free_port, private_redis, program, wait_for
from benchmarks.results import Figure, Goal
from benchmarks.rounds import between_floors

PART: Final = "peers"

_PICTURES: Final = "640x480"
_CONNECTIONS: Final = 16
_APP: Final = "benchmarks.peers.tutorial"


def measure(bench: Bench) -> Iterator[Figure]:
    """Our processor time against its, and our requests per second against its.

    Raises: WrongAnswer, Replaced, NotReady.
    """
    with stack.running() as ours, _tutorial() as (url, processes):
        asked = []
        for target, under, exact in ((ours.predict, ours.processes, False), (url, processes, True)):
            expected = bench.expected(target, _PICTURES, exact=exact)
            send = partial(bench.load, target, _PICTURES, expected, _CONNECTIONS)
            send(requests=bench.effort.of(50))
            asked.append(partial(cost, under, send))
        measured = list(between_floors(partial(bench.floor, _PICTURES), asked, bench.effort.rounds))
    rounds = [
        {
            f"{system}_{name}": figure
            for system, (one, floor) in zip(("our", "its"), both, strict=True)
            for name, figure in {"floor_s": floor, **one}.items()
        }
        for both in measured
    ]
    yield Figure(
        part=PART,
        name="processor time per request, ours against its",
        unit="of the tutorial",
        # Each against the floor of its own moment: the two were not asked at the same time.
        values=[(one["our_cpu_s"] / one["our_floor_s"]) / (one["its_cpu_s"] / one["its_floor_s"]) for one in rounds],
        rounds=rounds,
        goal=Goal(bound="at most", limit=0.55),
    )
    yield Figure(
        part=PART,
        name="requests per second, ours against its",
        unit="of the tutorial",
        # Each by the cores that nobody else used meanwhile: neighbours need not have left both the same.
        values=[
            (one["our_rate"] / (CORES - one["our_others"])) / (one["its_rate"] / (CORES - one["its_others"]))
            for one in rounds
        ],
        goal=Goal(bound="at least", limit=1.8),
    )
    yield Figure(
        part=PART,
        name="processor time per request, its",
        unit="of the bare loop",
        values=[one["its_cpu_s"] / one["its_floor_s"] for one in rounds],
    )


@contextmanager
def _tutorial() -> Iterator[tuple[str, Processes]]:
    # Its Redis keeps nothing on disk, which is what `docker run redis` and a tutorial come to.
    port = free_port()
    with (
        private_redis(append_only=False) as (redis, redis_url),
        program(
            *(
                "-m",
                "celery",
                "--quiet",
                "--app",
                f"{_APP}:queue",
                "worker",
                "--concurrency",
                "2",
                "--loglevel",
                "WARNING",
            ),
            TUTORIAL_REDIS_URL=redis_url,
        ) as worker,
        program(
            *("-m", "uvicorn", f"{_APP}:app", "--port", str(port), "--log-level", "warning"),
            TUTORIAL_REDIS_URL=redis_url,
        ) as gateway,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_for(partial(_ready, f"{url}/health"), gateway, worker)
        yield f"{url}/predict", Processes({"gateway": gateway.pid, "worker": worker.pid, "redis": redis.pid})


def _ready(url: str) -> bool:
    try:
        return bool(json.loads(httpx2.get(url, timeout=5).text)["ready"])
    except httpx2.TransportError:
        return False
