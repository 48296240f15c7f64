"""What accepting a job costs: `POST /v1/jobs`, against a server that reads the same body and forgets it."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.cost import cost
from benchmarks.load import Load
from benchmarks.processes import Processes
from benchmarks.programs import free_port, listens, private_redis, program, serves, wait_for
from benchmarks.results import Figure, Goal

PART: Final = "submit"

_PICTURES: Final = "640x480"
_CONNECTIONS: Final = 16
_JOBS: Final = 1000
_FORGOTTEN: Final = 4000


def measure(bench: Bench) -> Iterator[Figure]:
    """Gateway and Redis against the blank server. Nobody works: the queue is emptied after each round.

    Raises: WrongAnswer, Replaced, NotReady.
    """
    port, blank_port = free_port(), free_port()
    with (
        private_redis(append_only=True) as (server, redis_url),
        redis.Redis.from_url(redis_url) as client,
        program("-m", "gateway", DARKROOM_REDIS_URL=redis_url, DARKROOM_GATEWAY_PORT=str(port)) as gateway,
        program("-m", "benchmarks.peers.blank", str(blank_port)) as blank,
    ):
        url, blank_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{blank_port}"
        wait_for(serves(f"{url}/health/live"), gateway)
        wait_for(listens(blank_port), blank)
        ours = partial(_send, bench, f"{url}/v1/jobs", _JOBS, 202, '{"id":"job_')
        theirs = partial(_send, bench, blank_url, _FORGOTTEN, 204, "")
        submit = partial(cost, Processes({"gateway": gateway.pid, "redis": server.pid}), ours)
        forget = partial(cost, Processes({"blank": blank.pid}), theirs)
        ours()
        theirs()
        rounds = []
        # A round takes a second, and Redis rewrites its file in some of them.
        for _ in range(2 * bench.effort.rounds):
            client.flushdb()
            before, one, after = forget(), submit(), forget()
            rounds.append({"blank_s": (before["cpu_s"] + after["cpu_s"]) / 2, **one})
    yield Figure(
        part=PART,
        name="processor time of an accepted job, gateway and Redis",
        unit="of the blank server",
        values=[one["cpu_s"] / one["blank_s"] for one in rounds],
        rounds=rounds,
        goal=Goal(bound="at most", limit=5),
    )


def _send(bench: Bench, url: str, requests: int, status: int, start: str) -> Load:
    bodies = bench.bodies(_PICTURES)
    return bench.send(
        url,
        bodies,
        [start] * len(bodies),
        requests=bench.effort.of(requests),
        connections=_CONNECTIONS,
        status=status,
    )
