"""What the queue itself costs: a job without work, against a list of Redis that promises nothing."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import redis

from benchmarks.apart import Apart
from benchmarks.bench import Bench
from benchmarks.processes import Processes
from benchmarks.programs import private_redis, program, wait_for
from benchmarks.results import Figure, Goal
from shared.adapters import keys

PART: Final = "queue"

_ALONE: Final = 1500
_TOGETHER: Final = 4000
_IN_FLIGHT: Final = 32


def measure(bench: Bench) -> Iterator[Figure]:
    """Latency of one job at a time, and processor time of submitter, worker and Redis with many in flight.

    Raises: Replaced, NotReady, Failed.
    """
    with (
        private_redis(append_only=True) as (server, url),
        program("-m", "benchmarks.peers.raw_worker", url) as raw,
        program("-m", "benchmarks.peers.no_op_worker", DARKROOM_REDIS_URL=url, DARKROOM_WORKER_PROCESSES="1") as ours,
        Apart("benchmarks.submitter") as submitter,
        redis.Redis.from_url(url) as client,
    ):
        wait_for(lambda: bool(client.exists(keys.WORKERS)), ours, raw)
        roots = {"submitter": submitter.pid, "redis": server.pid}
        under = {
            "ours": Processes({**roots, "worker": ours.pid}),
            "raw": Processes({**roots, "worker": raw.pid}),
        }

        def once(queue: str, jobs: int, in_flight: int) -> dict[str, float]:
            before = under[queue].read()
            order: dict[str, Any] = {"queue": queue, "url": url, "jobs": jobs, "in_flight": in_flight}
            latency: dict[str, float] = submitter(order)
            spent = under[queue].read().since(before)
            return {
                **latency,
                "cpu_s": sum(spent.values()) / jobs,
                **{f"{role}_s": s / jobs for role, s in spent.items()},
            }

        for name, figure, jobs, in_flight, limit in (
            ("half of the jobs have ended after, one in flight", "p50_ms", _ALONE, 1, 5),
            (f"processor time of a job, {_IN_FLIGHT} in flight", "cpu_s", _TOGETHER, _IN_FLIGHT, 3),
        ):
            rounds = _rounds(bench, partial(once, jobs=bench.effort.of(jobs), in_flight=in_flight))
            yield Figure(
                part=PART,
                name=name,
                unit="of a raw list",
                values=[one[f"ours_{figure}"] / one[f"raw_{figure}"] for one in rounds],
                rounds=rounds,
                goal=Goal(bound="at most", limit=limit),
            )


def _rounds(bench: Bench, once: Callable[[str], dict[str, float]]) -> list[dict[str, float]]:
    for queue in ("raw", "ours"):
        # The first jobs of each pay for connecting.
        once(queue)
    return [
        {f"{queue}_{name}": figure for queue in ("raw", "ours") for name, figure in once(queue).items()}
        for _ in range(bench.effort.rounds)
    ]
