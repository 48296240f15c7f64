"""Thousands of callers that wait for jobs to end, over one subscription and one sweep a second."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from starlette.types import Receive

from shared.errors import BrokerUnavailable
from shared.store import Ending, JobStore

SWEEP_S: Final = 1.0
"""A job's end that the subscription missed is found within so many seconds."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_STRIDE: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many seconds a caller waits, the preference that said so, and where its leaving shows."""

    seconds: float
    applied: str | None = None
    receive: Receive | None = None


Waiter: TypeAlias = asyncio.Future[Ending]
"""Is done once the job has ended or is gone. It may also be done for no reason: what the news leaves open, look up."""


class Waiters:
    """Who waits for which job. `len` counts the callers."""

    def __init__(self, store: JobStore, *, sweep_s: float = SWEEP_S) -> None:
        self._store = store
        self._sweep_s = sweep_s
        self._waiting: dict[str, set[Waiter]] = {}
        self._dismissed = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def dismissed(self) -> bool:
        """Whether the gateway is stopping, so that nobody should wait any longer."""
        return self._dismissed

    @contextmanager
    def register(self, job_id: str) -> Iterator[Waiter]:
        """Wait for a job's end. Register first, then look at the job."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        if self._dismissed:
            waiter.set_result(Ending(job_id=job_id))
        self._waiting.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            others = self._waiting[job_id]
            others.discard(waiter)
            if not others:
                del self._waiting[job_id]

    def dismiss(self) -> None:
        """Let everybody go, now and from now on: the gateway is stopping."""
        self._dismissed = True
        for job_id in self._waiting:
            self._wake(Ending(job_id=job_id))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep listening and sweeping inside the block."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            self.dismiss()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async for ending in self._store.endings():
                    pause = _FIRST_PAUSE_S
                    self._wake(ending)
            except BrokerUnavailable as error:
                _log.warning("endings_lost", detail=error.detail)
            except Exception:  # noqa: BLE001 - without this task every wait would last a sweep longer, for ever
                _log.exception("endings_broke")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            job_ids = list(self._waiting)
            try:
                for start in range(0, len(job_ids), _STRIDE):
                    for job_id in await self._store.ended(job_ids[start : start + _STRIDE]):
                        self._wake(Ending(job_id=job_id))
            except BrokerUnavailable as error:
                _log.warning("sweep_missed", detail=error.detail)
            except Exception:  # noqa: BLE001 - without this task a missed end would never be found
                _log.exception("sweep_broke")

    def _wake(self, ending: Ending) -> None:
        for waiter in self._waiting.get(ending.job_id, ()):
            if not waiter.done():
                waiter.set_result(ending)


async def soon(waiter: Waiter, seconds: float) -> bool:
    """Whether the waiter is done within so many seconds. It goes on waiting otherwise."""
    if waiter.done():
        return True
    # Most waits end here, and a task for each would cost more than the wait.
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    waiter.add_done_callback(wake)
    timer = loop.call_later(seconds, wake)
    try:
        await woken
    finally:
        timer.cancel()
        waiter.remove_done_callback(wake)
    return waiter.done()


@contextmanager
def leaving(receive: Receive | None) -> Iterator[asyncio.Task[None]]:
    """A task that is done once the caller has left; without `receive` it never is."""
    task = asyncio.create_task(_left(receive))
    try:
        yield task
    finally:
        task.cancel()


async def _left(receive: Receive | None) -> None:
    if receive is None:
        await asyncio.Event().wait()
        return
    while (await receive())["type"] != "http.disconnect":
        pass
