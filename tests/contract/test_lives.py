"""Jobs' lives under any order of calls, with calls said twice and said too late: on Redis and on its twin in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from shared.errors import JobNotFound, JobRunning
from shared.jobs import MOVES, Claim, Job, JobSpec, JobState, Priority
from shared.memory_store import MemoryStore
from shared.store import JobStore, WorkStore
from tests.support.jobs import PICTURE, a_failure, a_spec, an_answer
from tests.support.redis_server import RedisServer

EXAMPLES = settings(max_examples=40, stateful_step_count=40, deadline=None)
BELL = Bell()


class Lives(RuleBasedStateMachine):
    """Whatever is called, a job moves as `MOVES` allows, and an ended one never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.jobs, self.work = self.stores()
        self.specs: list[JobSpec] = []
        self.claims: list[Claim] = []
        self.before: dict[str, Job] = {}

    def stores(self) -> tuple[JobStore, WorkStore]:
        store = MemoryStore()
        return store, store

    def teardown(self) -> None:
        self.loop.run_until_complete(self.jobs.close())
        self.loop.close()

    def look(self, spec: JobSpec) -> Job | None:
        try:
            return self.loop.run_until_complete(self.jobs.get(spec.id, spec.owner))
        except JobNotFound:
            return None

    @rule(priority=st.sampled_from(Priority), ttl=st.sampled_from([0, 60_000]))
    def enqueue(self, priority: Priority, ttl: int) -> None:
        self.specs.append(a_spec(priority=priority, queue_ttl_ms=ttl))
        self.loop.run_until_complete(self.jobs.enqueue(self.specs[-1], PICTURE))

    @precondition(lambda self: self.specs)
    @rule(data=st.data())
    def enqueue_again(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from(self.specs))
        if self.look(spec):
            self.loop.run_until_complete(self.jobs.enqueue(spec, PICTURE))

    @rule()
    def claim(self) -> None:
        claim = self.work.claim("w1")
        if claim:
            assert claim.image == PICTURE
            assert claim.token not in {earlier.token for earlier in self.claims}
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), good=st.booleans(), then_claim=st.booleans())
    def finish(self, data: st.DataObject, good: bool, then_claim: bool) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        before = self.look(claim.spec)

        counted, following = self.work.finish("w1", claim, an_answer() if good else a_failure(), then_claim=then_claim)

        if following:
            self.claims.append(following)
        if counted:
            assert before is not None
            assert before.state is (JobState.SUCCEEDED if good else JobState.FAILED) or not before.done

    @precondition(lambda self: self.specs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from(self.specs))
        if self.look(spec):
            self.loop.run_until_complete(self.jobs.cancel(spec.id, spec.owner))

    @precondition(lambda self: self.specs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from(self.specs))
        try:
            self.loop.run_until_complete(self.jobs.delete(spec.id, spec.owner))
        except (JobRunning, JobNotFound):
            return
        self.specs.remove(spec)
        self.before.pop(spec.id, None)

    @invariant()
    def moves_are_allowed(self) -> None:
        for spec in self.specs:
            job = self.look(spec)
            assert job is not None
            before = self.before.get(spec.id, job)
            assert not before.done or job == before
            assert job.state is before.state or job.state in MOVES[before.state]
            self.before[spec.id] = job


class LivesInRedis(Lives):
    """The same in Redis, where also every key must be in its place."""

    client: redis.Redis
    url: str

    def stores(self) -> tuple[JobStore, WorkStore]:
        self.client.flushall()
        self.late: Callable[..., Any] = self.client.register_script(keys.CLAIM)
        return RedisJobStore.from_url(self.url, connections=2, bell=BELL), RedisWorkStore.from_url(self.url, bell=BELL)

    def teardown(self) -> None:
        super().teardown()
        self.work.retire("w1")

    @precondition(lambda self: self.asked() > 1)
    @rule(data=st.data())
    def claim_too_late(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.asked() - 1))

        assert self.late(args=["w1", number]) is None

    def asked(self) -> int:
        told: Any = self.client.get(f"{keys.SLOT}w1")
        return int(told.split(b" ")[0]) if told else 0

    @invariant()
    def keys_are_in_their_places(self) -> None:
        states = {spec.id.encode(): job.state for spec in self.specs if (job := self.look(spec))}
        queued = {job_id for job_id, state in states.items() if state is JobState.QUEUED}
        running = {job_id for job_id, state in states.items() if state is JobState.RUNNING}
        pictures = {key.removeprefix(keys.PICTURE.encode()) for key in self.client.scan_iter(f"{keys.PICTURE}*")}
        assert set(self.client.zrange(keys.QUEUE, 0, -1)) == queued
        assert set(self.client.zrange(keys.WAITING, 0, -1)) == queued
        assert set(self.client.zrange(keys.LEASES, 0, -1)) == running
        assert pictures == queued | running
        assert set(self.client.zrange(f"{keys.JOBS}anonymous", 0, -1)) == set(states)


def test_a_life_in_memory() -> None:
    run_state_machine_as_test(Lives, settings=EXAMPLES)


def test_a_life_in_redis(empty_redis: RedisServer) -> None:
    with empty_redis.client() as client:
        machine = type("Machine", (LivesInRedis,), {"client": client, "url": empty_redis.url})

        run_state_machine_as_test(machine, settings=EXAMPLES)
