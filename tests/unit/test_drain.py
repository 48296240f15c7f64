"""A drain takes jobs until none waits or its budget is used."""

import asyncio

import pytest

from shared.errors import BrokerUnavailable
from shared.jobs import Claim, JobState, Outcome
from shared.memory_store import MemoryStore
from tests.support.jobs import PICTURE, a_failure, a_spec, an_answer
from worker.drain import Budget, Drain, Progress


def a_drain(store: MemoryStore, *, jobs: int = 100, linger_s: float = 0.0, patience_s: float = 60.0) -> Drain:
    return Drain(
        "w1",
        store=store,
        classify=lambda _: an_answer(),
        budget=Budget(jobs=jobs, seconds=5, linger_s=linger_s, patience_s=patience_s),
        ended=lambda *_: None,
    )


async def states(store: MemoryStore) -> list[JobState]:
    return [job.state for job in (await store.page("anonymous")).jobs]


async def test_a_drain_works_until_the_queue_is_empty() -> None:
    store = MemoryStore()
    for _ in range(3):
        await store.enqueue(a_spec(), PICTURE)

    worked = a_drain(store)()

    assert worked == 3
    assert await states(store) == [JobState.SUCCEEDED] * 3


async def test_a_bell_for_nothing_costs_nothing() -> None:
    drain = a_drain(MemoryStore())

    assert drain() == 0
    assert drain.progress == Progress(drains=1)


async def test_a_drain_stops_when_its_budget_is_used() -> None:
    store = MemoryStore()
    for _ in range(5):
        await store.enqueue(a_spec(), PICTURE)

    worked = a_drain(store, jobs=2)()

    assert worked == 2
    assert (await states(store)).count(JobState.QUEUED) == 3


async def test_a_lingering_drain_takes_a_job_that_comes_meanwhile() -> None:
    store = MemoryStore()
    rings = iter([True, False])

    def linger(seconds: float) -> bool:
        ringing = next(rings)
        if ringing:
            asyncio.run_coroutine_threadsafe(store.enqueue(a_spec(), PICTURE), loop).result(5)
        return ringing

    loop = asyncio.get_running_loop()
    store.linger = linger  # type: ignore[method-assign]

    worked = await asyncio.to_thread(a_drain(store, linger_s=0.01))

    assert worked == 1
    assert await states(store) == [JobState.SUCCEEDED]


async def test_a_drain_tells_how_each_job_ended() -> None:
    store = MemoryStore()
    job = await store.enqueue(a_spec(), PICTURE)
    told: list[tuple[str, Outcome, bool]] = []

    def tell(claim: Claim, outcome: Outcome, counted: bool) -> None:
        told.append((claim.spec.id, outcome, counted))

    drain = Drain(
        "w1",
        store=store,
        classify=lambda _: a_failure(),
        budget=Budget(jobs=9, seconds=5, linger_s=0),
        ended=tell,
    )
    drain()

    assert told == [(job.id, a_failure(), True)]
    assert drain.progress.jobs_done == 1
    assert drain.progress.work_ms is not None
    assert drain.progress.work_ms > 0


async def test_a_worker_is_busy_only_while_it_drains() -> None:
    store = MemoryStore()
    await store.enqueue(a_spec(), PICTURE)
    seen: list[bool] = []

    def look(_: Claim) -> Outcome:
        seen.append(drain.progress.busy)
        return an_answer()

    drain = Drain(
        "w1",
        store=store,
        classify=look,
        budget=Budget(jobs=9, seconds=5, linger_s=0),
        ended=lambda *_: None,
    )

    drain()

    assert seen == [True]
    assert not drain.progress.busy


def test_a_drain_whose_store_stays_away_ends_idle_and_says_so() -> None:
    class Away(MemoryStore):
        def claim(self, worker: str) -> Claim | None:
            raise BrokerUnavailable("The job store does not answer just now.")

    drain = a_drain(Away(), patience_s=0)

    with pytest.raises(BrokerUnavailable):
        drain()
    assert not drain.progress.busy


async def test_an_answer_in_hand_outlives_a_store_that_is_away() -> None:
    class Away(MemoryStore):
        refusals = 3

        def _refuse(self) -> None:
            if self.refusals:
                self.refusals -= 1
                raise BrokerUnavailable("The job store does not answer just now.")

        def claim(self, worker: str) -> Claim | None:
            self._refuse()
            return super().claim(worker)

        def finish(self, worker: str, claim: Claim, outcome: Outcome, *, then_claim: bool) -> tuple[bool, Claim | None]:
            self.refusals = 2 if self.refusals == 0 and not self.tried else self.refusals
            self.tried = True
            self._refuse()
            return super().finish(worker, claim, outcome, then_claim=then_claim)

        tried = False

    store = Away()
    job = await store.enqueue(a_spec(), PICTURE)

    worked = a_drain(store)()

    assert worked == 1
    assert store.tried
    assert (await store.get(job.id, "anonymous")).state is JobState.SUCCEEDED


def test_a_bell_whose_sound_was_lost_counts_as_heard() -> None:
    looks: list[str] = []

    class Deaf(MemoryStore):
        def claim(self, worker: str) -> Claim | None:
            looks.append(worker)
            return None

        def linger(self, seconds: float) -> bool:
            if len(looks) < 3:
                raise BrokerUnavailable("The job store does not answer just now.")
            return False

    assert a_drain(Deaf(), linger_s=0.01)() == 0
    assert len(looks) == 3


def test_the_average_of_work_follows_slowly() -> None:
    progress = Progress()

    for work_ms in (10.0, 20.0):
        progress.done(work_ms)

    assert progress.work_ms == pytest.approx(11.0)
