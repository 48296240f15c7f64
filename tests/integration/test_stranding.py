"""No job is stranded between "the worker saw an empty queue" and "the gateway saw enough bells"."""

import asyncio
import random
import threading
from typing import Any

import pytest

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from shared.jobs import Claim, JobState
from tests.support.jobs import a_spec, an_answer
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from worker.drain import Budget, Drain

_ANSWER = an_answer()


class Ringer(threading.Thread):
    """A worker as Celery runs it: takes a bell off the list, drains, takes the next.

    It never beats, so nothing but the bells themselves can save a job.
    """

    def __init__(self, name: str, url: str, linger_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.store = RedisWorkStore.from_url(url, bell=Bell())
        self.quit = threading.Event()
        self.worked = 0
        self.drain = Drain(
            name,
            store=self.store,
            classify=self._classify,
            budget=Budget(jobs=7, seconds=0.05, linger_s=linger_s),
            ended=lambda *_: None,
        )

    def _classify(self, claim: Claim) -> Any:
        assert claim.image == b"x"
        return _ANSWER

    def run(self) -> None:
        while not self.quit.is_set():
            if self.store.linger(0.2):
                self.worked += self.drain()
        self.store.retire(self.name)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("linger_s", [0.0, 0.002])
async def test_ten_thousand_submissions_at_random_times_all_end(empty_redis: RedisServer, linger_s: float) -> None:
    dice = random.Random(20_000 + int(linger_s * 1000))
    workers = [Ringer(f"w{number}", empty_redis.url, linger_s) for number in range(2)]
    store = RedisJobStore.from_url(empty_redis.url, connections=8, bell=Bell())
    for worker in workers:
        worker.start()

    async def submit(jobs: int) -> None:
        for _ in range(jobs):
            if dice.random() < 0.5:
                await asyncio.sleep(dice.expovariate(1 / 0.002))
            await store.enqueue(a_spec(), b"x")

    async def nothing_waits() -> bool:
        jobs = (await store.overview()).jobs
        return jobs[JobState.QUEUED] == jobs[JobState.RUNNING] == 0

    submitted = 0
    while submitted < 10_000:
        # A pause after each burst: what is stranded then is not saved by the next job's bell.
        burst = [dice.randint(1, 16)] * 4
        await asyncio.gather(*(submit(jobs) for jobs in burst))
        submitted += sum(burst)
        await eventually(nothing_waits, seconds=5, what="the last jobs: some are stranded")

    jobs = (await store.overview()).jobs
    for worker in workers:
        worker.quit.set()
    for worker in workers:
        worker.join()
    await store.close()
    with empty_redis.client() as client:
        assert client.llen(keys.BELL) <= 1
        assert not list(client.scan_iter(f"{keys.PICTURE}*"))
    assert jobs[JobState.SUCCEEDED] == sum(worker.worked for worker in workers) == submitted >= 10_000
    assert all(worker.worked > 0 for worker in workers)
