"""Jobs' lives under any order of calls, with calls said twice and said too late: on Redis and on its twin in memory."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.adapters import connections, keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from shared.errors import InputGone, JobNotFound, JobRunning
from shared.jobs import MOVES, Claim, Job, JobSpec, JobState, Outcome, Priority, Setback, new_job_id
from shared.memory_store import MemoryStore
from shared.store import JobStore, WorkStore
from tests.support.jobs import PICTURE, a_failure, a_report, a_spec, an_answer
from tests.support.redis_server import RedisServer

# Many more with: DARKROOM_TEST_EXAMPLES=2000
EXAMPLES = settings(
    max_examples=int(os.environ.get("DARKROOM_TEST_EXAMPLES", "60")), stateful_step_count=40, deadline=None
)
WORKERS = st.sampled_from(["w1", "w2"])
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [an_answer(), a_failure(), Setback(failure=a_failure(), repeats=1), Setback(failure=a_failure(), repeats=2)]
)
BELL = Bell()


class Lives(RuleBasedStateMachine):
    """Whatever is called, a job moves as `MOVES` allows, and an ended one never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.jobs, self.works = self.stores()
        self.specs: list[JobSpec] = []
        self.claims: list[tuple[str, Claim]] = []
        self.before: dict[str, Job] = {}
        self.ended: dict[str, int] = {}
        self.attempts: dict[str, int] = {}

    def stores(self) -> tuple[JobStore, dict[str, WorkStore]]:
        store = MemoryStore()
        self.twin = store
        return store, {"w1": store, "w2": store}

    def lease_ends(self, spec: JobSpec) -> None:
        """As if the worker of a running job had not been heard from for too long."""
        self.twin._records[spec.id].lease_us = 0

    def pause_ends(self, spec: JobSpec) -> None:
        """As if it were time for a pausing job to go on."""
        record = self.twin._records[spec.id]
        record.job = replace(record.job, due_us=1)

    def time_ends(self, spec: JobSpec) -> None:
        """As if a job had waited for as long as it may."""
        self.twin._records[spec.id].deadline_us = 0

    def teardown(self) -> None:
        self.drain_all()
        self.loop.run_until_complete(self.jobs.close())
        self.loop.close()

    def drain_all(self) -> None:
        """No job is lost: left to a reaper and one worker that does its work, every one of them ends."""
        for _ in range(2 + 5 * len(self.specs)):
            live = [(spec, job) for spec in self.specs if (job := self.look(spec)) and not job.done]
            for spec, job in live:
                if job.state is JobState.RUNNING:
                    self.lease_ends(spec)
                elif job.due_us is not None:
                    self.pause_ends(spec)
            self.reap()
            while claim := self.works["w1"].claim("w1"):
                self.works["w1"].finish("w1", claim, an_answer(), then_claim=False)
            self.moves_are_allowed()
        jobs = [self.look(spec) for spec in self.specs]
        assert all(job is None or job.done for job in jobs)

    def look(self, spec: JobSpec) -> Job | None:
        try:
            return self.loop.run_until_complete(self.jobs.get(spec.id, spec.owner))
        except JobNotFound:
            return None

    @rule(
        priority=st.sampled_from(Priority),
        ttl=st.sampled_from([0, 60_000]),
        keep=st.sampled_from([0, 60_000]),
    )
    def enqueue(self, priority: Priority, ttl: int, keep: int) -> None:
        self.specs.append(a_spec(priority=priority, queue_ttl_ms=ttl, retry_keep_ms=keep))
        self.loop.run_until_complete(self.jobs.enqueue(self.specs[-1], PICTURE))

    @precondition(lambda self: self.specs)
    @rule(data=st.data())
    def enqueue_again(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from(self.specs))
        if spec.retry_of is None and self.look(spec):
            self.loop.run_until_complete(self.jobs.enqueue(spec, PICTURE))

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        claim = self.works[worker].claim(worker)
        if claim:
            self.took(worker, claim)

    def took(self, worker: str, claim: Claim) -> None:
        assert claim.image == PICTURE
        assert claim.token not in {earlier.token for _, earlier in self.claims}
        assert 1 <= claim.attempt <= claim.spec.max_attempts
        self.claims.append((worker, claim))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), outcome=OUTCOMES, then_claim=st.booleans())
    def finish(self, data: st.DataObject, outcome: Outcome, then_claim: bool) -> None:
        worker, claim = data.draw(st.sampled_from(self.claims))
        before = self.look(claim.spec)

        counted, following = self.works[worker].finish(worker, claim, outcome, then_claim=then_claim)

        if following:
            self.took(worker, following)
        after = self.look(claim.spec)
        if counted and after is not None and before is not None and not before.done:
            latest = [held.token for _, held in self.claims if held.spec.id == claim.spec.id][-1]
            assert claim.token == latest or following is not None

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        worker, claim = data.draw(st.sampled_from(self.claims))
        self.works[worker].beat(a_report(id=worker), claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        worker, claim = data.draw(st.sampled_from(self.claims))
        before = self.look(claim.spec)

        given = self.works[worker].give_back(claim)

        after = self.look(claim.spec)
        assert not given or (before is not None and before.state is JobState.RUNNING)
        if given and after is not None and after.state is JobState.QUEUED:
            self.attempts[claim.spec.id] = after.attempt

    @precondition(lambda self: self.specs)
    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from(self.specs))
        job = self.look(spec)
        if job is None or job.done:
            return
        if job.state is JobState.RUNNING:
            self.lease_ends(spec)
        elif job.due_us is not None:
            self.pause_ends(spec)
        else:
            self.time_ends(spec)

    @rule()
    def reap(self) -> None:
        while self.loop.run_until_complete(self.jobs.reap()).more:
            pass

    @precondition(lambda self: self.specs)
    @rule(data=st.data(), pause_ms=st.sampled_from([0, 60_000]))
    def retry(self, data: st.DataObject, pause_ms: int) -> None:
        old = data.draw(st.sampled_from(self.specs))
        before = self.look(old)
        fresh = replace(old, id=new_job_id(), retry_of=old.id)
        try:
            job = self.loop.run_until_complete(self.jobs.retry(old.id, old.owner, fresh, pause_ms))
        except JobRunning:
            assert before is not None
            assert not before.done or before.state is JobState.SUCCEEDED
        except InputGone:
            assert old.retry_keep_ms == 0 or (before is not None and before.retried_as is not None)
        else:
            after = self.look(old)
            assert after is not None
            assert after.retried_as == job.id
            if job.id == fresh.id:
                self.specs.append(fresh)
            # That it was retried is the one thing that an ended job may still learn.
            self.before[old.id] = replace(self.before[old.id], retried_as=job.id)

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
            # Running to running: it was taken back, and claimed again at once.
            assert job.state is before.state or job.state in MOVES[before.state] or self.leads(before, job)
            assert job.attempt <= spec.max_attempts
            assert job.attempt >= min(before.attempt, self.attempts.get(spec.id, spec.max_attempts))
            self.before[spec.id] = job

    @staticmethod
    def leads(before: Job, job: Job) -> bool:
        """Whether one step may have made two moves: the reaper takes back what then expires at once."""
        return any(job.state in MOVES[between] for between in MOVES[before.state])


class LivesInRedis(Lives):
    """The same in Redis, where also every key must be in its place."""

    client: redis.Redis
    url: str

    def stores(self) -> tuple[JobStore, dict[str, WorkStore]]:
        self.client.flushall()
        self.late: Callable[..., Any] = self.client.register_script(keys.CLAIM)
        works = {worker: RedisWorkStore.from_url(self.url, bell=BELL) for worker in ("w1", "w2")}
        return RedisJobStore.from_url(self.url, connections=2, bell=BELL), dict(works)

    def lease_ends(self, spec: JobSpec) -> None:
        self.client.zadd(keys.LEASES, {spec.id: 1}, xx=True)

    def pause_ends(self, spec: JobSpec) -> None:
        self.client.zadd(keys.PAUSING, {spec.id: 1}, xx=True)

    def time_ends(self, spec: JobSpec) -> None:
        self.client.zadd(keys.DEADLINES, {spec.id: 1}, xx=True)
        self.client.hset(f"{keys.JOB}{spec.id}", "deadline_us", 1)

    @rule()
    def reap(self) -> None:
        self.client.unlink(keys.REAPED)
        super().reap()

    def teardown(self) -> None:
        super().teardown()
        for worker, work in self.works.items():
            work.retire(worker)

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
        seen = {spec.id.encode(): (spec, job) for spec in self.specs if (job := self.look(spec))}
        pausing = {job_id for job_id, (_, job) in seen.items() if job.due_us is not None}
        kept = {
            job_id
            for job_id, (spec, job) in seen.items()
            if job.done and job.state is not JobState.SUCCEEDED and spec.retry_keep_ms and job.retried_as is None
        }
        assert set(self.client.zrange(keys.QUEUE, 0, -1)) == queued - pausing
        assert set(self.client.zrange(keys.PAUSING, 0, -1)) == pausing
        assert set(self.client.zrange(keys.WAITING, 0, -1)) == queued
        assert set(self.client.zrange(keys.DEADLINES, 0, -1)) == queued
        assert set(self.client.zrange(keys.LEASES, 0, -1)) == running
        assert pictures == queued | running | kept
        assert {job_id for job_id in pictures if self.client.pttl(keys.PICTURE.encode() + job_id) == -1} == (
            queued | running
        )
        assert set(self.client.zrange(f"{keys.JOBS}anonymous", 0, -1)) == set(states)
        assert set(self.client.zrange(keys.KEPT, 0, -1)) == kept
        failed = {job_id for job_id, (_, job) in seen.items() if job.failure and job.retried_as is None}
        assert set(self.client.zrange(keys.DEAD, 0, -1)) <= failed


def test_a_life_in_memory() -> None:
    run_state_machine_as_test(Lives, settings=EXAMPLES)


def test_a_life_in_redis(empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a gateway's caller would not wait for is here the machine's business alone.
    monkeypatch.setattr(connections, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(connections, "PROMPT_S", 60.0)
    with empty_redis.client() as client:
        machine = type("Machine", (LivesInRedis,), {"client": client, "url": empty_redis.url})

        run_state_machine_as_test(machine, settings=EXAMPLES)
