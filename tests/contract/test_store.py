"""What a store promises. Redis and its twin in memory pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest
import redis

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from shared.errors import IdempotencyKeyReused, InputGone, JobExpired, JobNotFound, JobRunning
from shared.jobs import Claim, Job, JobState, Priority, Setback
from shared.memory_store import MemoryStore
from shared.store import CRASHED, Ending, JobStore, Once, Reaped, WorkStore
from tests.support.jobs import PICTURE, a_failure, a_report, a_spec, an_answer
from tests.support.waiting import eventually


@dataclass
class Both:
    """Two views of one store."""

    jobs: JobStore
    work: WorkStore
    client: redis.Redis | None = None

    async def queued(self, **changes: object) -> Job:
        """A job that waits."""
        return await self.jobs.enqueue(a_spec(**changes), PICTURE)

    async def running(self, **changes: object) -> tuple[Job, Claim]:
        """A job that a worker holds; nothing else may wait."""
        job = await self.queued(**changes)
        claim = self.work.claim("w1")
        assert claim is not None
        assert claim.spec.id == job.id
        return job, claim

    def lease_ends(self, job: Job) -> None:
        """As if the job's worker had not been heard from for too long."""
        if self.client is not None:
            assert self.client.zadd(keys.LEASES, {job.id: 1}, xx=True, ch=True) == 1
        else:
            assert isinstance(self.jobs, MemoryStore)
            self.jobs._records[job.id].lease_us = 0

    async def waits_until(self, job: Job) -> int:
        """When the job's time in the queue is over."""
        if self.client is not None:
            return int(self.client.zscore(keys.DEADLINES, job.id) or 0)
        assert isinstance(self.jobs, MemoryStore)
        return self.jobs._records[job.id].deadline_us

    async def reap(self) -> Reaped:
        """What the reaper finds, however often it was asked before."""
        if self.client is not None:
            self.client.unlink(keys.REAPED)
        return await self.jobs.reap()

    async def resumed(self) -> Claim:
        """The claim of the one job that pauses, once its pause is over."""

        async def taken() -> Claim | None:
            await self.reap()
            return self.work.claim("w1")

        claim = await eventually(taken, what="the pause to be over")
        assert claim is not None
        return claim

    async def now(self, job: Job) -> Job:
        """The job as it stands."""
        return await self.jobs.get(job.id, job.spec.owner)


@pytest.fixture(params=["memory", "redis", "redis by socket"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    if request.param == "memory":
        store = MemoryStore()
        yield Both(store, store)
        return
    server = request.getfixturevalue("empty_redis")
    url = server.url if request.param == "redis" else server.socket_url
    bell = Bell()
    jobs = RedisJobStore.from_url(url, connections=4, bell=bell)
    work = RedisWorkStore.from_url(url, bell=bell)
    with server.client() as client:
        yield Both(jobs, work, client)
    work.retire("w1")
    await jobs.close()


async def test_a_job_is_queued_with_its_place(both: Both) -> None:
    first = await both.queued()
    second = await both.queued(metadata={"album": "zoo"}, top_k=2)

    assert (first.state, first.attempt, first.position) == (JobState.QUEUED, 0, 1)
    assert second.position == 2
    assert await both.now(second) == second


async def test_enqueueing_twice_is_one_job(both: Both) -> None:
    spec = a_spec()

    first = await both.jobs.enqueue(spec, PICTURE)
    again = await both.jobs.enqueue(spec, PICTURE)

    assert again == first
    assert both.work.claim("w1") is not None
    assert both.work.claim("w2") is None


async def test_enqueueing_again_a_job_that_runs_tells_how_it_stands(both: Both) -> None:
    job, _ = await both.running()

    again = await both.jobs.enqueue(job.spec, PICTURE)

    assert again.state is JobState.RUNNING


async def test_a_claim_brings_the_picture_and_counts_the_attempt(both: Both) -> None:
    job, claim = await both.running()

    assert claim.image == PICTURE
    assert claim.attempt == 1
    assert claim.spec == job.spec
    assert claim.created_us == job.created_us
    seen = await both.now(job)
    assert (seen.state, seen.attempt, seen.position) == (JobState.RUNNING, 1, None)
    assert seen.started_us is not None
    assert seen.started_us >= seen.created_us


async def test_no_two_claims_give_the_same_job(both: Both) -> None:
    queued = [await both.queued() for _ in range(20)]

    claims = [both.work.claim(f"w{number % 3}") for number in range(21)]

    assert [claim.spec.id for claim in claims if claim] == [job.id for job in queued]
    assert claims[-1] is None
    assert len({claim.token for claim in claims if claim}) == 20


async def test_finish_stores_the_answer_and_takes_the_next_job(both: Both) -> None:
    job, claim = await both.running()
    waiting = await both.queued()

    counted, following = both.work.finish("w1", claim, an_answer(0.9, 0.05, 0.03, 0.02), then_claim=True)

    assert counted
    assert following is not None
    assert following.spec.id == waiting.id
    assert following.image == PICTURE
    seen = await both.now(job)
    assert seen.state is JobState.SUCCEEDED
    assert seen.answer == an_answer(0.9, 0.05, 0.03, 0.02)
    assert seen.finished_us is not None
    assert seen.expires_us == seen.finished_us + seen.spec.result_ttl_ms * 1000


async def test_finish_without_a_next_claim_leaves_the_queue_alone(both: Both) -> None:
    _, claim = await both.running()
    waiting = await both.queued()

    counted, following = both.work.finish("w1", claim, a_failure(), then_claim=False)

    assert (counted, following) == (True, None)
    assert (await both.now(waiting)).state is JobState.QUEUED


async def test_a_failure_is_stored_as_it_was_told(both: Both) -> None:
    job, claim = await both.running()
    told = replace(a_failure(), code="image-too-large", limit=50_000_000, actual=60_000_000)

    both.work.finish("w1", claim, told, then_claim=False)

    seen = await both.now(job)
    assert (seen.state, seen.failure, seen.answer) == (JobState.FAILED, told, None)


async def test_the_first_write_wins(both: Both) -> None:
    job, claim = await both.running()
    both.work.finish("w1", claim, an_answer(1.0, 0.0, 0.0, 0.0), then_claim=False)

    both.work.finish("w1", claim, a_failure(), then_claim=False)

    seen = await both.now(job)
    assert (seen.state, seen.failure) == (JobState.SUCCEEDED, None)
    assert seen.answer == an_answer(1.0, 0.0, 0.0, 0.0)


async def test_an_answer_said_twice_by_the_same_attempt_counts_both_times_and_is_one(both: Both) -> None:
    job, claim = await both.running()

    said = [both.work.finish("w1", claim, an_answer(), then_claim=False) for _ in range(2)]

    assert said == [(True, None), (True, None)]
    assert (await both.jobs.overview()).jobs[JobState.SUCCEEDED] == 1
    assert (await both.now(job)).answer == an_answer()


async def test_what_a_lost_worker_says_after_the_job_was_given_up_does_not_count(both: Both) -> None:
    job, claim = await both.running(max_attempts=1)
    both.lease_ends(job)
    await both.reap()

    counted, _ = both.work.finish("w1", claim, a_failure(), then_claim=False)

    assert not counted
    assert (await both.now(job)).failure == replace(CRASHED, dead=False)


async def test_an_attempt_with_another_token_ends_nothing(both: Both) -> None:
    job, claim = await both.running()
    stale = replace(claim, token="somebody else's")

    counted, _ = both.work.finish("w1", stale, an_answer(), then_claim=False)

    assert not counted
    assert (await both.now(job)).state is JobState.RUNNING


async def test_a_queued_job_is_canceled_at_once_and_never_claimed(both: Both) -> None:
    job = await both.queued()

    canceled = await both.jobs.cancel(job.id, job.spec.owner)

    assert canceled.state is JobState.CANCELED
    assert canceled.expires_us is not None
    assert both.work.claim("w1") is None


async def test_a_late_result_never_overwrites_a_cancel(both: Both) -> None:
    job, claim = await both.running()

    asked = await both.jobs.cancel(job.id, job.spec.owner)
    counted, _ = both.work.finish("w1", claim, an_answer(), then_claim=False)

    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert not counted
    seen = await both.now(job)
    assert (seen.state, seen.answer) == (JobState.CANCELED, None)


async def test_a_cancel_leaves_an_ended_job_alone(both: Both) -> None:
    job, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    ended = await both.now(job)

    assert await both.jobs.cancel(job.id, job.spec.owner) == ended


async def test_a_deleted_job_is_gone_from_everywhere(both: Both) -> None:
    job = await both.queued()

    await both.jobs.delete(job.id, job.spec.owner)

    with pytest.raises(JobNotFound):
        await both.now(job)
    assert both.work.claim("w1") is None
    assert (await both.jobs.page("anonymous")).jobs == ()


async def test_a_deleted_job_is_unknown_and_not_expired(both: Both) -> None:
    job, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)

    await both.jobs.delete(job.id, job.spec.owner)

    with pytest.raises(JobNotFound):
        await both.now(job)


async def test_the_oldest_wait_is_not_that_of_a_job_that_overtook(both: Both) -> None:
    first = await both.queued()
    await both.queued(priority=Priority.HIGH)

    age = (await both.jobs.overview()).oldest_age_s
    overtaker = both.work.claim("w1")
    still = (await both.jobs.overview()).oldest_age_s
    claim = both.work.claim("w1")
    nobody = (await both.jobs.overview()).oldest_age_s

    assert overtaker is not None
    assert claim is not None
    assert claim.spec.id == first.id
    assert age is not None
    assert still is not None
    assert still > age
    assert nobody is None


async def test_a_running_job_is_not_deleted(both: Both) -> None:
    job, _ = await both.running()

    with pytest.raises(JobRunning):
        await both.jobs.delete(job.id, job.spec.owner)
    assert (await both.now(job)).state is JobState.RUNNING


async def test_another_owners_job_is_as_absent_as_an_unknown_one(both: Both) -> None:
    job = await both.queued()

    for job_id, owner in ((job.id, "mallory"), ("job_unknown", "anonymous")):
        with pytest.raises(JobNotFound):
            await both.jobs.get(job_id, owner)
        with pytest.raises(JobNotFound):
            await both.jobs.cancel(job_id, owner)
        with pytest.raises(JobNotFound):
            await both.jobs.delete(job_id, owner)
    assert (await both.jobs.page("mallory")).jobs == ()
    assert (await both.now(job)).state is JobState.QUEUED


async def test_a_record_that_ran_out_is_expired_and_not_unknown(both: Both) -> None:
    job, claim = await both.running(result_ttl_ms=1)
    both.work.finish("w1", claim, an_answer(), then_claim=False)

    async def expired() -> bool:
        try:
            await both.now(job)
        except JobExpired:
            return True
        return False

    await eventually(expired)
    with pytest.raises(JobExpired):
        await both.jobs.cancel(job.id, job.spec.owner)
    with pytest.raises(JobExpired):
        await both.jobs.delete(job.id, job.spec.owner)
    with pytest.raises(JobNotFound):
        await both.jobs.get(job.id, "mallory")
    assert (await both.jobs.page("anonymous")).jobs == ()


async def test_a_job_past_its_queue_time_expires_instead_of_running(both: Both) -> None:
    late = await both.queued(queue_ttl_ms=0)
    good = await both.queued()

    claim = both.work.claim("w1")

    assert claim is not None
    assert claim.spec.id == good.id
    assert (await both.now(late)).state is JobState.EXPIRED


async def test_priority_overtakes_but_starves_nobody(both: Both) -> None:
    low = await both.queued(priority=Priority.LOW)
    normal = await both.queued()
    high = await both.queued(priority=Priority.HIGH)

    order = [claim.spec.id for claim in iter(lambda: both.work.claim("w1"), None)]

    assert order == [high.id, normal.id, low.id]


async def test_a_low_job_passes_after_a_thousand(both: Both) -> None:
    low = await both.queued(priority=Priority.LOW)
    for _ in range(1001):
        await both.queued()

    position = (await both.now(low)).position

    assert position == 1001


async def test_ended_names_what_ended_or_is_gone(both: Both) -> None:
    done, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    waiting = await both.queued()

    ended = await both.jobs.ended([done.id, waiting.id, "job_gone"])

    assert ended == {done.id, "job_gone"}


async def test_every_end_is_told_to_those_who_listen(both: Both) -> None:
    heard: list[Ending] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async with aclosing(both.jobs.endings()) as endings:  # type: ignore[type-var]
            async for ending in endings:
                if ending.job_id == probe.id:
                    listening.set()
                heard.append(ending)

    probe = a_spec()
    task = asyncio.create_task(listen())

    async def subscribed() -> bool:
        job = await both.jobs.enqueue(replace(probe), PICTURE)
        await both.jobs.delete(job.id, job.spec.owner)
        return listening.is_set()

    await eventually(subscribed)
    succeeded, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    canceled = await both.queued()
    await both.jobs.cancel(canceled.id, canceled.spec.owner)
    expired = await both.queued(queue_ttl_ms=0)
    assert both.work.claim("w1") is None

    async def told() -> bool:
        return {succeeded.id, canceled.id, expired.id} <= {ending.job_id for ending in heard}

    await eventually(told)
    # The news of a success is as good as the record.
    success = next(ending.success for ending in heard if ending.job_id == succeeded.id)
    assert success is not None
    assert success.of(succeeded) == await both.jobs.get(succeeded.id, succeeded.spec.owner)
    assert {ending.job_id for ending in heard if ending.success} == {succeeded.id}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_pages_go_from_new_to_old_without_gap_or_repeat(both: Both) -> None:
    jobs = [await both.queued() for _ in range(7)]

    first = await both.jobs.page("anonymous", limit=3)
    second = await both.jobs.page("anonymous", limit=3, before=first.next_before)
    third = await both.jobs.page("anonymous", limit=3, before=second.next_before)

    assert [job.id for page in (first, second, third) for job in page.jobs] == [job.id for job in reversed(jobs)]
    assert third.next_before is None


async def test_pages_choose_by_state_and_model(both: Both) -> None:
    done, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    other = await both.queued(model="animals")

    assert [job.id for job in (await both.jobs.page("anonymous", state=JobState.SUCCEEDED)).jobs] == [done.id]
    assert [job.id for job in (await both.jobs.page("anonymous", model="animals")).jobs] == [other.id]


async def test_the_overview_counts_and_sees_workers(both: Both) -> None:
    done, claim = await both.running()
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    await both.running()
    await both.queued()
    await both.queued()
    both.work.beat(a_report())
    both.work.beat(a_report(id="w2", state="busy", work_ms=None))
    both.work.beat(a_report(id="w3"))
    both.work.retire("w3")

    overview = await both.jobs.overview()

    assert overview.jobs == {
        JobState.QUEUED: 2,
        JobState.RUNNING: 1,
        JobState.SUCCEEDED: 1,
        JobState.FAILED: 0,
        JobState.CANCELED: 0,
        JobState.EXPIRED: 0,
    }
    assert overview.oldest_age_s is not None
    assert overview.oldest_age_s >= 0
    assert sorted(sighting.report.id for sighting in overview.workers) == ["w1", "w2"]
    assert all(0 <= sighting.age_s < 5 for sighting in overview.workers)
    assert done.id


async def test_an_empty_store_has_an_overview_too(both: Both) -> None:
    overview = await both.jobs.overview()

    assert (overview.oldest_age_s, overview.workers) == (None, ())
    assert set(overview.jobs.values()) == {0}


async def test_a_sound_store_has_no_faults(both: Both) -> None:
    assert await both.jobs.faults() == []


async def test_a_bell_rings_for_a_worker_that_lingers(both: Both) -> None:
    await both.queued()

    assert both.work.linger(0.5)


ONCE = Once(key="k1", fingerprint="f1")


async def test_what_is_asked_for_once_is_one_job_however_often_it_comes(both: Both) -> None:
    first = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    again = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    assert again == first
    assert both.work.claim("w1") is not None
    assert both.work.claim("w2") is None


async def test_the_first_job_is_found_in_whatever_state_it_is(both: Both) -> None:
    first = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)
    claim = both.work.claim("w1")
    assert claim is not None
    running = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)
    both.work.finish("w1", claim, an_answer(), then_claim=False)

    ended = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    assert (running.id, running.state) == (first.id, JobState.RUNNING)
    assert (ended.id, ended.state) == (first.id, JobState.SUCCEEDED)
    assert both.work.claim("w1") is None


async def test_the_same_key_with_another_request_is_refused_and_queues_nothing(both: Both) -> None:
    await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    with pytest.raises(IdempotencyKeyReused):
        await both.jobs.enqueue(a_spec(), PICTURE, replace(ONCE, fingerprint="f2"))

    assert (await both.jobs.overview()).jobs[JobState.QUEUED] == 1


async def test_another_owner_s_key_is_another_key(both: Both) -> None:
    first = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    other = await both.jobs.enqueue(a_spec(owner="somebody"), PICTURE, replace(ONCE, fingerprint="f2"))

    assert other.id != first.id
    assert (await both.jobs.overview()).jobs[JobState.QUEUED] == 2


async def test_a_key_whose_job_is_gone_says_so_and_queues_nothing(both: Both) -> None:
    first = await both.jobs.enqueue(a_spec(), PICTURE, ONCE)
    await both.jobs.delete(first.id, first.spec.owner)

    with pytest.raises(JobExpired):
        await both.jobs.enqueue(a_spec(), PICTURE, ONCE)

    assert both.work.claim("w1") is None


async def test_many_at_the_same_time_with_one_key_are_one_job(both: Both) -> None:
    jobs = await asyncio.gather(*(both.jobs.enqueue(a_spec(), PICTURE, ONCE) for _ in range(20)))

    assert len({job.id for job in jobs}) == 1
    assert (await both.jobs.overview()).jobs[JobState.QUEUED] == 1


async def test_a_job_without_a_key_is_always_a_new_one(both: Both) -> None:
    jobs = [await both.queued() for _ in range(3)]

    assert len({job.id for job in jobs}) == 3


async def test_a_setback_pauses_the_job_and_another_one_ends_it(both: Both) -> None:
    job, claim = await both.running()
    setback = Setback(failure=a_failure(), repeats=1)

    counted, _ = both.work.finish("w1", claim, setback, then_claim=False)

    pausing = await both.now(job)
    assert counted
    assert (pausing.state, pausing.attempt, pausing.position, pausing.failure) == (JobState.QUEUED, 1, None, None)
    assert pausing.due_us is not None
    assert both.work.claim("w1") is None
    assert (await both.jobs.overview()).jobs[JobState.QUEUED] == 1
    again = await both.resumed()
    assert again.attempt == 2
    both.work.finish("w1", again, setback, then_claim=False)
    ended = await both.now(job)
    assert (ended.state, ended.failure) == (JobState.FAILED, a_failure())
    assert (await both.jobs.dead_letter(job.id)).id == job.id


async def test_a_pause_is_none_of_the_time_that_a_job_may_wait(both: Both) -> None:
    job, claim = await both.running(queue_ttl_ms=900)

    both.work.finish("w1", claim, Setback(failure=a_failure(), repeats=1), then_claim=False)

    assert (await both.waits_until(job)) - ((await both.now(job)).due_us or 0) == 900_000


async def test_a_setback_said_twice_is_one(both: Both) -> None:
    job, claim = await both.running()
    setback = Setback(failure=a_failure(), repeats=2)
    both.work.finish("w1", claim, setback, then_claim=False)

    counted, _ = both.work.finish("w1", claim, setback, then_claim=False)

    assert counted
    assert (await both.now(job)).state is JobState.QUEUED
    assert (await both.resumed()).attempt == 2


async def test_setbacks_never_go_beyond_the_job_s_attempts(both: Both) -> None:
    job, claim = await both.running(max_attempts=2)
    setback = Setback(failure=a_failure(), repeats=9)
    both.work.finish("w1", claim, setback, then_claim=False)
    again = await both.resumed()

    both.work.finish("w1", again, setback, then_claim=False)

    assert (await both.now(job)).state is JobState.FAILED


async def test_a_lost_worker_s_job_waits_again_and_its_late_answer_is_refused(both: Both) -> None:
    job, lost = await both.running()
    both.lease_ends(job)

    reaped = await both.reap()

    waiting = await both.now(job)
    assert reaped.taken_back == 1
    assert (waiting.state, waiting.attempt, waiting.position, waiting.started_us) == (JobState.QUEUED, 1, 1, None)
    late, _ = both.work.finish("w1", lost, an_answer(), then_claim=False)
    assert late is False
    found = both.work.claim("w1")
    assert found is not None
    assert (found.attempt, found.image) == (2, PICTURE)
    assert found.token != lost.token
    late, _ = both.work.finish("w1", lost, an_answer(0.1, 0.2, 0.3, 0.4), then_claim=False)
    counted, _ = both.work.finish("w1", found, an_answer(), then_claim=False)
    assert (late, counted) == (False, True)
    assert (await both.now(job)).answer == an_answer()


async def test_a_job_that_loses_worker_after_worker_fails_and_is_a_dead_letter(both: Both) -> None:
    job, _ = await both.running()
    for _ in range(2):
        both.lease_ends(job)
        await both.reap()
        assert both.work.claim("w1") is not None
    both.lease_ends(job)

    reaped = await both.reap()

    ended = await both.now(job)
    assert (reaped.crashed, reaped.taken_back) == (1, 0)
    assert (ended.state, ended.attempt, ended.failure) == (JobState.FAILED, 3, replace(CRASHED, dead=False))
    assert (await both.jobs.dead_letter(job.id)).id == job.id
    assert [letter.id for letter in (await both.jobs.dead_letters()).jobs] == [job.id]


async def test_a_lost_job_that_was_asked_to_stop_is_canceled(both: Both) -> None:
    job, _ = await both.running()
    await both.jobs.cancel(job.id, job.spec.owner)
    both.lease_ends(job)

    reaped = await both.reap()

    assert (reaped.canceled, reaped.taken_back) == (1, 0)
    assert (await both.now(job)).state is JobState.CANCELED


async def test_a_lease_holds_as_long_as_it_is_renewed(both: Both) -> None:
    job, claim = await both.running()
    both.lease_ends(job)
    both.work.beat(a_report(), claim)

    assert await both.reap() == Reaped()

    assert (await both.now(job)).state is JobState.RUNNING


async def test_a_beat_without_the_claim_renews_nothing(both: Both) -> None:
    job, _ = await both.running()
    both.lease_ends(job)
    both.work.beat(a_report())

    assert (await both.reap()).taken_back == 1


async def test_a_lost_claim_renews_nothing(both: Both) -> None:
    job, lost = await both.running()
    both.lease_ends(job)
    await both.reap()
    assert both.work.claim("w2") is not None
    both.lease_ends(job)

    both.work.beat(a_report(), lost)

    assert (await both.reap()).taken_back == 1


async def test_a_job_that_is_given_back_waits_as_if_it_had_not_been_claimed(both: Both) -> None:
    job, claim = await both.running()

    given = both.work.give_back(claim)

    waiting = await both.now(job)
    assert given
    assert (waiting.state, waiting.attempt, waiting.position) == (JobState.QUEUED, 0, 1)
    assert both.work.give_back(claim) is False
    late, _ = both.work.finish("w1", claim, an_answer(), then_claim=False)
    assert late is False


async def test_a_job_past_its_queue_time_expires_without_any_worker(both: Both) -> None:
    job = await both.queued(queue_ttl_ms=0)

    reaped = await both.reap()

    assert reaped.expired == 1
    assert (await both.now(job)).state is JobState.EXPIRED
    assert (await both.jobs.overview()).oldest_age_s is None


@pytest.mark.parametrize("end", ["failed", "canceled", "expired"])
async def test_a_retry_is_a_new_job_with_the_old_picture(both: Both, end: str) -> None:
    job = await both.queued(queue_ttl_ms=60_000 if end != "expired" else 0, metadata={"a": 1})
    if end == "failed":
        claim = both.work.claim("w1")
        assert claim is not None
        both.work.finish("w1", claim, a_failure(), then_claim=False)
    elif end == "canceled":
        await both.jobs.cancel(job.id, job.spec.owner)
    else:
        await both.reap()
    spec = a_spec(retry_of=job.id)

    fresh = await both.jobs.retry(job.id, job.spec.owner, spec)

    old = await both.now(job)
    assert (old.state, old.retried_as) == (JobState(end), fresh.id)
    assert (fresh.id, fresh.spec.retry_of, fresh.state, fresh.position) == (spec.id, job.id, JobState.QUEUED, 1)
    claim = both.work.claim("w1")
    assert claim is not None
    assert (claim.spec, claim.image, claim.attempt) == (spec, PICTURE, 1)


async def test_a_retry_asked_for_twice_is_one_new_job(both: Both) -> None:
    job = await both.queued()
    await both.jobs.cancel(job.id, job.spec.owner)

    first = await both.jobs.retry(job.id, job.spec.owner, a_spec(retry_of=job.id))
    second = await both.jobs.retry(job.id, job.spec.owner, a_spec(retry_of=job.id))

    assert first.id == second.id
    assert (await both.jobs.overview()).jobs[JobState.QUEUED] == 1


async def test_only_what_failed_was_canceled_or_expired_is_retried(both: Both) -> None:
    job, claim = await both.running()

    with pytest.raises(JobRunning):
        await both.jobs.retry(job.id, job.spec.owner, a_spec())
    both.work.finish("w1", claim, an_answer(), then_claim=False)
    with pytest.raises(JobRunning):
        await both.jobs.retry(job.id, job.spec.owner, a_spec())
    with pytest.raises(JobNotFound):
        await both.jobs.retry(job.id, "somebody else", a_spec())
    with pytest.raises(JobNotFound):
        await both.jobs.retry(a_spec().id, job.spec.owner, a_spec())


async def test_a_picture_that_is_not_kept_cannot_be_tried_again(both: Both) -> None:
    job = await both.queued(retry_keep_ms=0)
    await both.jobs.cancel(job.id, job.spec.owner)

    with pytest.raises(InputGone):
        await both.jobs.retry(job.id, job.spec.owner, a_spec())


async def test_a_picture_is_kept_for_as_long_as_was_said(both: Both) -> None:
    job = await both.queued(retry_keep_ms=30)
    await both.jobs.cancel(job.id, job.spec.owner)

    async def gone() -> bool:
        if both.client is not None:
            return not both.client.exists(f"{keys.PICTURE}{job.id}")
        assert isinstance(both.jobs, MemoryStore)
        both.jobs._bury()
        return job.id not in both.jobs._pictures

    await eventually(gone, what="the picture to go")
    with pytest.raises(InputGone):
        await both.jobs.retry(job.id, "anonymous", a_spec())


async def test_a_retry_may_pause_first(both: Both) -> None:
    job = await both.queued()
    await both.jobs.cancel(job.id, job.spec.owner)

    fresh = await both.jobs.retry(job.id, job.spec.owner, a_spec(retry_of=job.id), pause_ms=20)

    assert (fresh.state, fresh.position) == (JobState.QUEUED, None)
    assert fresh.due_us == fresh.created_us + 20_000
    assert (await both.resumed()).spec.id == fresh.id


async def test_dead_letters_are_those_that_somebody_should_see_and_that_nobody_tried_again(both: Both) -> None:
    usage, claim = await both.running()
    both.work.finish("w1", claim, a_failure(), then_claim=False)
    letters = []
    for _ in range(3):
        job, claim = await both.running(owner="somebody else")
        both.work.finish("w1", claim, replace(a_failure(), dead=True), then_claim=False)
        letters.append(job)

    await both.jobs.retry(letters[1].id, "somebody else", a_spec(owner="somebody else"))

    page = await both.jobs.dead_letters(limit=1)
    assert [job.id for job in page.jobs] == [letters[2].id]
    rest = await both.jobs.dead_letters(limit=5, before=page.next_before)
    assert [job.id for job in rest.jobs] == [letters[0].id]
    assert rest.next_before is None
    for job in (usage, letters[1]):
        with pytest.raises(JobNotFound):
            await both.jobs.dead_letter(job.id)


async def test_a_deleted_dead_letter_is_gone(both: Both) -> None:
    job, claim = await both.running()
    both.work.finish("w1", claim, replace(a_failure(), dead=True), then_claim=False)

    await both.jobs.delete(job.id, job.spec.owner)

    assert (await both.jobs.dead_letters()).jobs == ()


async def test_a_bell_that_hangs_unheard_beside_waiting_jobs_is_told(both: Both) -> None:
    assert both.work.beat(a_report()) is False
    await both.queued()

    assert both.work.beat(a_report()) is True
    assert both.work.claim("w1") is not None
    assert both.work.beat(a_report()) is False
