"""Who submits jobs to a queue and waits for their ends, in a process of its own.

A program that takes orders: `{"queue": "ours" | "raw", "url": URL, "jobs": N, "in_flight": K}`.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final, Protocol

import redis.asyncio
import uvloop

from benchmarks.apart import take_orders
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.jobs import JobSpec, new_job_id

_PICTURE: Final = b"\x89PNG and no more"
_ANSWERS: Final = "raw:answers"
_PATIENCE_S: Final = 20.0


class Queue(Protocol):
    """What takes jobs and tells of their ends."""

    async def submit(self) -> str:
        """Queue a job. Its id."""

    async def listen(self, tell: Callable[[str], None]) -> None:
        """Tell of every job's end, for ever."""

    async def close(self) -> None:
        """Give back the connections."""


class Ours:
    """The store as the gateway uses it."""

    def __init__(self, url: str) -> None:
        self._store = RedisJobStore.from_url(url, connections=32, bell=Bell())

    async def submit(self) -> str:
        """See `Queue.submit`."""
        spec = JobSpec(id=new_job_id(), owner="benchmark", model="mock", model_version="1", result_ttl_ms=10_000)
        await self._store.enqueue(spec, _PICTURE)
        return spec.id

    async def listen(self, tell: Callable[[str], None]) -> None:
        """See `Queue.listen`."""
        async for ending in self._store.endings():
            tell(ending.job_id)

    async def close(self) -> None:
        """See `Queue.close`."""
        await self._store.close()


class Raw:
    """A list of jobs and one list of answers for all who wait here."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=None)
        self._numbers = count()

    async def submit(self) -> str:
        """See `Queue.submit`."""
        number = str(next(self._numbers))
        await self._client.lpush("raw:jobs", f"{_ANSWERS} {number}")
        return number

    async def listen(self, tell: Callable[[str], None]) -> None:
        """See `Queue.listen`."""
        while True:
            _, number = await self._client.brpop([_ANSWERS])
            tell(number.decode())

    async def close(self) -> None:
        """See `Queue.close`."""
        await self._client.aclose()


async def _run(queue: Queue, jobs: int, in_flight: int) -> list[float]:
    ended: set[str] = set()
    waiting: dict[str, asyncio.Event] = {}
    latencies: list[float] = []
    left = iter(range(jobs))

    def tell(job: str) -> None:
        event = waiting.get(job)
        if event is None:
            # Its end was quicker than the answer to its submission.
            ended.add(job)
        else:
            event.set()

    async def one_after_the_other() -> None:
        for _ in left:
            start = time.perf_counter()
            job = await queue.submit()
            if job not in ended:
                waiting[job] = asyncio.Event()
                await waiting[job].wait()
                del waiting[job]
            latencies.append(time.perf_counter() - start)

    listening = asyncio.create_task(queue.listen(tell))
    # Until it is subscribed nothing would be heard.
    await asyncio.sleep(0.1)
    async with asyncio.timeout(_PATIENCE_S):
        await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    await queue.close()
    return latencies


def obey(order: dict[str, Any]) -> dict[str, float]:
    """Submit so many jobs, so many at a time.

    Returns: `p50_ms` and `p99_ms` from submission to end.
    """
    queue: Queue = Ours(order["url"]) if order["queue"] == "ours" else Raw(order["url"])
    latencies = sorted(uvloop.run(_run(queue, order["jobs"], order["in_flight"])))
    return {"p50_ms": latencies[len(latencies) // 2] * 1000, "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000}


if __name__ == "__main__":
    take_orders(obey)
