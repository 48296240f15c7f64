"""A worker process ends when that is the only way on."""

from dataclasses import dataclass, field

import pytest

from shared.errors import BrokerUnavailable
from shared.jobs import Claim, JobState
from shared.memory_store import MemoryStore
from tests.support.jobs import PICTURE, a_spec
from worker.drain import Progress
from worker.watch import Bounds, Exits, Watch


@dataclass
class Watched:
    """A watch over a process that only notes what would be done to it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    progress: Progress = field(default_factory=Progress)
    stopping_since: float | None = None
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(
            self.progress,
            store=self.store,
            bounds=Bounds(job_s=60, drain_s=25, stopping_since=lambda: self.stopping_since),
            exits=Exits(end=lambda: self.done.append("end"), replace=lambda: self.done.append("replace")),
        )

    async def works_on_a_job(self, since: float) -> Claim:
        await self.store.enqueue(a_spec(), PICTURE)
        claim = self.store.claim("w1")
        assert claim is not None
        self.progress.busy, self.progress.claim, self.progress.since = True, claim, since
        return claim


def test_an_idle_worker_is_left_alone() -> None:
    watched = Watched()

    for now in range(100):
        watched.watch.look(unheard=False, now=now)

    assert watched.done == []


async def test_a_process_that_is_stuck_with_a_job_ends_and_its_attempt_counts() -> None:
    watched = Watched()
    claim = await watched.works_on_a_job(since=100)

    watched.watch.look(unheard=False, now=160)
    assert watched.done == []
    watched.watch.look(unheard=False, now=160.1)

    assert watched.done == ["end"]
    job = await watched.store.get(claim.spec.id, claim.spec.owner)
    assert (job.state, job.attempt) == (JobState.RUNNING, 1)


async def test_a_process_that_holds_an_answer_while_the_store_is_away_is_not_stuck() -> None:
    watched = Watched()
    await watched.works_on_a_job(since=100)
    watched.progress.since = None

    watched.watch.look(unheard=False, now=700)

    assert watched.done == []


async def test_a_job_that_is_not_done_when_the_worker_must_go_is_given_back() -> None:
    watched = Watched()
    claim = await watched.works_on_a_job(since=100)
    watched.stopping_since = 100

    for now in (100, 110, 124.9):
        watched.watch.look(unheard=False, now=now)
    assert watched.done == []
    watched.watch.look(unheard=False, now=125)

    assert watched.done == ["end"]
    job = await watched.store.get(claim.spec.id, claim.spec.owner)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)


async def test_a_process_must_go_even_if_the_store_does_not_take_its_job() -> None:
    class Away(MemoryStore):
        def give_back(self, claim: Claim) -> bool:
            raise BrokerUnavailable("The job store does not answer just now.")

    watched = Watched(store=Away())
    await watched.works_on_a_job(since=100)
    watched.stopping_since = 100

    for now in (100, 125):
        watched.watch.look(unheard=False, now=now)

    assert watched.done == ["end"]


def test_a_process_that_still_asks_for_a_job_when_it_must_go_ends() -> None:
    watched = Watched(stopping_since=100)
    watched.progress.busy = True

    watched.watch.look(unheard=False, now=124.9)
    assert watched.done == []
    watched.watch.look(unheard=False, now=125)

    assert watched.done == ["end"]


def test_a_worker_that_stops_without_a_job_is_celery_s_to_end() -> None:
    watched = Watched(stopping_since=0)

    for now in (0, 30, 60):
        watched.watch.look(unheard=True, now=now)

    assert watched.done == []


def test_an_idle_worker_beside_a_bell_that_nobody_hears_is_replaced() -> None:
    watched = Watched()

    for now in (100, 102, 104, 106, 108, 109.9):
        watched.watch.look(unheard=True, now=now)
    assert watched.done == []
    watched.watch.look(unheard=True, now=110)

    assert watched.done == ["replace"]


def test_a_few_looks_are_not_enough_to_call_a_worker_deaf() -> None:
    watched = Watched()

    for now in (100, 105, 110, 115, 120):
        watched.watch.look(unheard=True, now=now)

    assert watched.done == []


def test_a_process_that_was_held_up_itself_calls_nobody_deaf() -> None:
    watched = Watched()

    for now in (100, 102, 104, 106, 108, 160, 162):
        watched.watch.look(unheard=True, now=now)

    assert watched.done == []


def test_a_worker_that_drained_between_two_looks_is_not_deaf() -> None:
    watched = Watched()

    for now in range(100, 140, 2):
        watched.progress.drains += 1
        watched.watch.look(unheard=True, now=now)

    assert watched.done == []


@pytest.mark.parametrize("what", ["heard", "busy"])
def test_a_worker_that_hears_now_and_then_is_not_deaf(what: str) -> None:
    watched = Watched()

    for now in range(100, 200, 4):
        watched.progress.busy = what == "busy" and now % 8 == 0
        watched.watch.look(unheard=what == "busy" or now % 8 == 0, now=now)

    assert watched.done == []
