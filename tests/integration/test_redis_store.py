"""What only Redis can do to a store: lose an answer on the line, forget its scripts, fill up, freeze, go away."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from shared.errors import BrokerUnavailable, IdempotencyKeyReused, InputGone, JobExpired, JobNotFound, StorageFull
from shared.jobs import Claim, Failure, JobState, Outcome
from shared.store import Once
from tests.support.calls import Calls
from tests.support.jobs import PICTURE, a_report, a_spec, an_answer
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from worker.drain import Budget, Drain


@pytest.fixture
async def jobs(empty_redis: RedisServer) -> AsyncIterator[RedisJobStore]:
    store = RedisJobStore.from_url(empty_redis.url, connections=4, bell=Bell())
    yield store
    await store.close()


@pytest.fixture
def work(empty_redis: RedisServer) -> Iterator[RedisWorkStore]:
    store = RedisWorkStore.from_url(empty_redis.url, bell=Bell())
    yield store
    store.retire("w1")


async def test_a_claim_whose_answer_was_lost_is_given_again(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    first, second = [await jobs.enqueue(a_spec(), PICTURE) for _ in range(2)]
    with empty_redis.client() as client:
        claim = client.register_script(keys.CLAIM)

        once, again = claim(args=["w1", 1]), claim(args=["w1", 1])
        following = claim(args=["w1", 2])
        stale = claim(args=["w1", 1])

    assert once == again
    assert first.id.encode() in once[0]
    assert second.id.encode() in following[0]
    assert stale is None
    assert (await jobs.get(first.id, "anonymous")).attempt == 1


async def test_a_finish_whose_answer_was_lost_counts_once_and_claims_once(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    ended, following = [await jobs.enqueue(a_spec(), PICTURE) for _ in range(2)]
    claim = work.claim("w1")
    assert claim is not None
    with empty_redis.client() as client:
        finish = client.register_script(keys.FINISH)
        words = ["w1", claim.spec.id, claim.token, "failed", "failure", '{"code":"x","detail":"y"}', "", 2, b"", 0]

        once, again = finish(args=words), finish(args=words)

    assert once == again
    assert once[0] == 1
    assert (await jobs.get(ended.id, "anonymous")).state is JobState.FAILED
    assert (await jobs.get(following.id, "anonymous")).attempt == 1


async def test_scripts_that_redis_forgot_are_taught_again(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    with empty_redis.client() as client:
        for _ in range(2):
            client.script_flush()
            job = await jobs.enqueue(a_spec(), PICTURE)
            client.script_flush()
            claim = work.claim("w1")
            assert claim is not None
            client.script_flush()
            work.finish("w1", claim, an_answer(), then_claim=False)

            assert (await jobs.get(job.id, "anonymous")).state is JobState.SUCCEEDED


async def test_a_job_without_its_picture_is_none(
    empty_redis: RedisServer, jobs: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    monkeypatch.setattr("shared.adapters.redis_store.keys.PICTURE", "elsewhere:")

    with pytest.raises(BrokerUnavailable):
        await jobs.enqueue(spec, PICTURE)

    with pytest.raises(JobNotFound):
        await jobs.get(spec.id, "anonymous")
    with empty_redis.client() as client:
        assert client.zcard(keys.QUEUE) == 0


def test_a_line_that_breaks_while_a_worker_lingers_is_told_and_not_taken_for_silence(
    empty_redis: RedisServer, work: RedisWorkStore
) -> None:
    with empty_redis.client() as client, ThreadPoolExecutor(1) as aside:
        lingering = aside.submit(work.linger, 2.0)
        until(lambda: client.info("clients")["blocked_clients"] == 1, what="the worker to linger")

        client.client_kill_filter(_type="normal", skipme=True)

        with pytest.raises(BrokerUnavailable):
            lingering.result(10)


async def test_a_full_redis_lets_running_jobs_end_and_so_makes_room(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    queued = [await jobs.enqueue(a_spec(retry_keep_ms=0), PICTURE) for _ in range(4)]
    with empty_redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            faults = await jobs.faults()
            work.beat(a_report())
            claim = work.claim("w1")
            assert claim is not None
            counted, claim = work.finish("w1", claim, an_answer(), then_claim=True)
            assert claim is not None
            asked = await jobs.cancel(claim.spec.id, "anonymous")
            _, claim = work.finish("w1", claim, an_answer(), then_claim=True)
            canceled = await jobs.cancel(queued[3].id, "anonymous")
            assert claim is not None
            work.finish("w1", claim, an_answer(), then_claim=False)
        finally:
            client.config_set("maxmemory", 0)

        assert not list(client.scan_iter(f"{keys.PICTURE}*"))
    assert counted
    assert (asked.cancel_requested, canceled.state) == (True, JobState.CANCELED)
    assert faults == ["Redis is full."]
    states = [(await jobs.get(job.id, "anonymous")).state for job in queued]
    assert states == [JobState.SUCCEEDED, JobState.CANCELED, JobState.SUCCEEDED, JobState.CANCELED]
    assert len((await jobs.overview()).workers) == 1


async def test_a_question_that_comes_late_takes_nothing_even_if_there_was_nothing_to_take(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    with empty_redis.client() as client:
        claim = client.register_script(keys.CLAIM)
        assert claim(args=["w1", 1]) is None
        job = await jobs.enqueue(a_spec(), PICTURE)

        late = claim(args=["w1", 1])
        work.beat(a_report())
        work.retire("w1")
        later = claim(args=["w1", 1])

    assert (late, later) == (None, None)
    assert (await jobs.get(job.id, "anonymous")).state is JobState.QUEUED


async def test_a_claim_that_raised_is_asked_in_the_same_words(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    real = work._call

    def claimed_and_lost(*words: Any) -> None:
        real(*words)
        raise RedisConnectionError("the answer was lost")

    monkeypatch.setattr(work, "_call", claimed_and_lost)
    with pytest.raises(BrokerUnavailable):
        work.claim("w1")
    monkeypatch.undo()

    claim = work.claim("w1")

    assert claim is not None
    assert (claim.spec.id, claim.attempt) == (job.id, 1)


async def test_a_job_passes_through_the_store_with_few_calls(jobs: RedisJobStore, work: RedisWorkStore) -> None:
    async def counted() -> tuple[int, int]:
        spec = a_spec()
        with Calls() as coming_in:
            await jobs.enqueue(spec, PICTURE)
        claim = work.claim("w1")
        assert claim is not None
        with Calls() as going_out:
            work.finish("w1", claim, an_answer(), then_claim=True)
        return coming_in.count, going_out.count

    enqueue, finish = zip(*[await counted() for _ in range(5)], strict=True)

    # A third more than there are.
    assert min(enqueue) <= 360
    assert min(finish) <= 130


async def test_many_expired_jobs_are_ended_in_portions(
    jobs: RedisJobStore, work: RedisWorkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [await jobs.enqueue(a_spec(queue_ttl_ms=0), PICTURE) for _ in range(keys.MOST_EXPIRED + 10)]
    good = await jobs.enqueue(a_spec(), PICTURE)
    scripts: list[int] = []
    real = work._ask

    def counted(*words: Any) -> Any:
        scripts.append(1)
        return real(*words)

    monkeypatch.setattr(work, "_ask", counted)

    claim = work.claim("w1")

    assert claim is not None
    assert claim.spec.id == good.id
    assert len(scripts) == 2
    assert (await jobs.overview()).jobs[JobState.EXPIRED] == len(late)


async def test_an_enqueue_said_again_after_the_end_leaves_no_picture(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    claim = work.claim("w1")
    assert claim is not None
    work.finish("w1", claim, an_answer(), then_claim=False)

    again = await jobs.enqueue(job.spec, PICTURE)

    assert again.state is JobState.SUCCEEDED
    with empty_redis.client() as client:
        assert not list(client.scan_iter(f"{keys.PICTURE}*"))


async def test_a_tombstone_past_its_time_is_none(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    await jobs.cancel(job.id, "anonymous")
    with empty_redis.client() as client:
        client.unlink(f"{keys.JOB}{job.id}")
        with pytest.raises(JobExpired):
            await jobs.get(job.id, "anonymous")

        client.zadd(keys.ENDS, {f"anonymous {job.id}": 1})

    with pytest.raises(JobNotFound):
        await jobs.get(job.id, "anonymous")


async def test_an_answer_in_hand_outlives_ten_seconds_without_redis(own_server: RedisServer) -> None:
    jobs = RedisJobStore.from_url(own_server.url, connections=2, bell=Bell())
    job = await jobs.enqueue(a_spec(), PICTURE)
    work = RedisWorkStore.from_url(own_server.url, bell=Bell())
    gone = threading.Event()

    def classify(_: Claim) -> Outcome:
        own_server.kill()
        gone.set()
        return an_answer()

    budget = Budget(jobs=9, seconds=60, linger_s=0)
    drain = Drain("w1", store=work, classify=classify, budget=budget, ended=lambda *_: None)
    draining = asyncio.create_task(asyncio.to_thread(drain))
    assert await asyncio.to_thread(gone.wait, 10)
    done, _ = await asyncio.wait({draining}, timeout=10)

    own_server.start()

    assert not done
    assert await draining == 1
    assert (await jobs.get(job.id, "anonymous")).state is JobState.SUCCEEDED
    work.retire("w1")
    await jobs.close()


async def test_a_full_redis_takes_no_job_and_keeps_nothing_of_it(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    spec = a_spec()
    with empty_redis.client() as client:
        kept = client.dbsize()
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StorageFull):
                await jobs.enqueue(spec, PICTURE)
        finally:
            client.config_set("maxmemory", 0)

        assert client.dbsize() == kept
    assert (await jobs.enqueue(spec, PICTURE)).state is JobState.QUEUED


async def test_tombstones_that_had_their_time_go_with_the_reaper(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    old = [await jobs.enqueue(a_spec(), PICTURE) for _ in range(3)]
    for job in old:
        await jobs.cancel(job.id, "anonymous")
    with empty_redis.client() as client:
        for job in old:
            client.unlink(f"{keys.JOB}{job.id}")
            client.zadd(keys.ENDS, {f"anonymous {job.id}": 1})

        assert (await jobs.reap()).more is False

        assert client.zcard(keys.ENDS) == 0
        assert client.zcard(f"{keys.JOBS}anonymous") == 0
    with pytest.raises(JobNotFound):
        await jobs.get(old[0].id, "anonymous")


async def test_a_worker_that_fell_silent_is_forgotten(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    work.beat(a_report(id="silent"))
    with empty_redis.client() as client:
        seconds, _ = client.time()
        client.zadd(keys.WORKERS, {"silent": (seconds - 11) * 1_000_000})
        assert (await jobs.overview()).workers == ()

        work.beat(a_report())
        work.reap_now()

        assert client.zrange(keys.WORKERS, 0, -1) == [b"w1"]


async def test_as_many_bells_hang_as_workers_live(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    hanging = []
    with empty_redis.client() as client:
        for workers in (0, 1, 3):
            for number in range(workers):
                work.beat(a_report(id=f"w{number}"))
            for _ in range(5):
                await jobs.enqueue(a_spec(), PICTURE)
            hanging.append(client.llen(keys.BELL))

    assert hanging == [1, 1, 3]


async def test_rare_jobs_are_found_page_by_page_among_many(jobs: RedisJobStore) -> None:
    rare = [await jobs.enqueue(a_spec(model="rare"), PICTURE)]
    for _ in range(450):
        await jobs.enqueue(a_spec(), PICTURE)
    rare.append(await jobs.enqueue(a_spec(model="rare"), PICTURE))

    page = await jobs.page("anonymous", model="rare", limit=5)
    first = await jobs.page("anonymous", limit=200)
    second = await jobs.page("anonymous", limit=200, before=first.next_before)
    third = await jobs.page("anonymous", limit=200, before=second.next_before)

    assert [job.id for job in page.jobs] == [job.id for job in reversed(rare)]
    assert len({job.id for found in (first, second, third) for job in found.jobs}) == 452
    assert third.next_before is None


async def test_a_frozen_redis_is_told_within_two_seconds_and_forgiven(own_server: RedisServer) -> None:
    store = RedisJobStore.from_url(own_server.url, connections=2, bell=Bell())
    await store.enqueue(a_spec(), PICTURE)
    own_server.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        refusals = await asyncio.gather(
            *(store.enqueue(a_spec(), PICTURE) for _ in range(8)),
            store.get("job_1", "anonymous"),
            return_exceptions=True,
        )
        took = time.monotonic() - started
    finally:
        own_server.signal(signal.SIGCONT)

    assert {type(refusal) for refusal in refusals} == {BrokerUnavailable}
    assert took < 2.0
    assert (await store.enqueue(a_spec(), PICTURE)).state is JobState.QUEUED
    await store.close()


async def test_a_redis_that_is_gone_is_told_at_once_and_found_again(own_server: RedisServer) -> None:
    store = RedisJobStore.from_url(own_server.url, connections=2, bell=Bell())
    job = await store.enqueue(a_spec(), PICTURE)
    own_server.kill()

    with pytest.raises(BrokerUnavailable):
        await store.enqueue(a_spec(), PICTURE)
    with pytest.raises(BrokerUnavailable):
        await anext(store.endings())

    own_server.start()
    assert (await store.get(job.id, "anonymous")).state is JobState.QUEUED
    await store.close()


async def test_a_redis_that_may_lose_jobs_is_named(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru").start()
    store = RedisJobStore.from_url(server.url, connections=2, bell=Bell())

    faults = await store.faults()

    assert len(faults) == 2
    assert "append-only" in faults[0]
    assert "noeviction" in faults[1]
    await store.close()
    server.stop()


async def test_a_job_that_came_before_leaves_nothing_of_the_second_request(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    once = Once(key="k1", fingerprint="f1")
    await jobs.enqueue(a_spec(), PICTURE, once)
    with empty_redis.client() as client:
        before = set(client.keys())

        await jobs.enqueue(a_spec(), PICTURE, once)
        with pytest.raises(IdempotencyKeyReused):
            await jobs.enqueue(a_spec(), PICTURE, Once(key="k1", fingerprint="f2"))

        assert set(client.keys()) == before


async def test_a_full_redis_still_knows_the_job_that_came_before(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    once = Once(key="k1", fingerprint="f1")
    first = await jobs.enqueue(a_spec(), PICTURE, once)
    with empty_redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            again = await jobs.enqueue(a_spec(), PICTURE, once)
            with pytest.raises(IdempotencyKeyReused):
                await jobs.enqueue(a_spec(), PICTURE, Once(key="k1", fingerprint="f2"))
            with pytest.raises(StorageFull):
                await jobs.enqueue(a_spec(), PICTURE, Once(key="k2", fingerprint="f1"))
        finally:
            client.config_set("maxmemory", 0)

    assert again == first


async def test_a_redis_that_refuses_us_is_named_as_such(empty_redis: RedisServer) -> None:
    with empty_redis.client() as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys="*", categories=["+@read", "+@connection"])
        for user in ("nobody:wrong@", "reader:any@"):
            url = empty_redis.url.replace("redis://", f"redis://{user}")
            store = RedisJobStore.from_url(url, connections=1, bell=Bell())

            with pytest.raises(BrokerUnavailable, match="refuses our user"):
                await store.enqueue(a_spec(), PICTURE)
            await store.close()
        client.acl_deluser("reader")


async def test_a_key_stands_for_its_job_for_a_day_from_the_first_request_on(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    once = Once(key="k1", fingerprint="f1")
    first = await jobs.enqueue(a_spec(), PICTURE, once)
    with empty_redis.client() as client:
        kept_s = client.ttl(f"{keys.ONCE}anonymous:k1")
        client.expire(f"{keys.ONCE}anonymous:k1", 60)
        await jobs.enqueue(a_spec(), PICTURE, once)
        left_s = client.ttl(f"{keys.ONCE}anonymous:k1")
        client.delete(f"{keys.ONCE}anonymous:k1")

    later = await jobs.enqueue(a_spec(), PICTURE, once)

    assert 24 * 3600 - 60 < kept_s <= 24 * 3600
    assert left_s <= 60
    assert later.id != first.id


async def test_an_enqueue_with_a_key_said_again_after_a_lost_answer_keeps_its_picture(
    jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    spec, once = a_spec(), Once(key="k1", fingerprint="f1")

    first = await jobs.enqueue(spec, PICTURE, once)
    again = await jobs.enqueue(spec, PICTURE, once)
    claim = work.claim("w1")

    assert again == first
    assert claim is not None
    assert claim.image == PICTURE


async def test_nobody_is_blamed_for_what_was_missed_in_an_outage(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    assert work.claim("w1") is not None
    with empty_redis.client() as client:
        seconds, _ = client.time()
        for long_ago in (seconds - 60, seconds + 3600):
            client.zadd(keys.LEASES, {job.id: 1})
            client.set(keys.REAPED, long_ago * 1_000_000)

            assert (await jobs.reap()).taken_back == 0

        client.zadd(keys.LEASES, {job.id: 1})
        client.set(keys.REAPED, (seconds - 2) * 1_000_000)
        assert (await jobs.reap()).taken_back == 1


async def test_the_reaper_looks_once_however_many_ask(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    await jobs.enqueue(a_spec(queue_ttl_ms=0), PICTURE)

    found = [await jobs.reap(), work.reap_now(), await jobs.reap()]

    assert [reaped.expired for reaped in found] == [1, 0, 0]


async def test_the_reaper_looks_after_a_few_at_a_time_and_says_that_there_are_more(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    for _ in range(keys.MOST_REAPED + 1):
        await jobs.enqueue(a_spec(queue_ttl_ms=0), PICTURE)

    first, second = await jobs.reap(), await jobs.reap()

    assert (first.expired, first.more) == (keys.MOST_REAPED, True)
    assert (second.expired, second.more) == (1, False)


async def test_a_lost_bell_is_rung_by_the_reaper_and_each_worker_gets_one(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    for worker in ("w1", "w2", "w3"):
        work.beat(a_report(id=worker))
    for _ in range(5):
        await jobs.enqueue(a_spec(), PICTURE)
    with empty_redis.client() as client:
        client.unlink(keys.BELL)

        while (await jobs.reap()).more:
            pass

        bells = dict.fromkeys(client.lrange(keys.BELL, 0, -1))
        assert len(bells) == 3


async def test_what_an_older_version_wrote_is_looked_after_alike(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    with empty_redis.client() as client:
        client.hdel(f"{keys.JOB}{job.id}", "queue_ttl_ms", "retry_keep_ms", "max_attempts")
        client.zrem(keys.DEADLINES, job.id)
        for attempt in (1, 2, 3):
            claim = work.claim("w1")
            assert claim is not None
            assert claim.attempt == attempt
            client.zadd(keys.LEASES, {job.id: 1})
            client.unlink(keys.REAPED)
            await jobs.reap()

    assert (await jobs.get(job.id, "anonymous")).state is JobState.FAILED


async def test_what_has_lost_its_record_does_not_stop_the_reaper(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    with empty_redis.client() as client:
        for key in (keys.LEASES, keys.PAUSING, keys.DEADLINES, keys.WAITING):
            client.zadd(key, {"job_gone": 1})
        job = await jobs.enqueue(a_spec(queue_ttl_ms=0), PICTURE)

        await jobs.reap()

        assert not client.exists(keys.LEASES, keys.PAUSING, keys.DEADLINES, keys.WAITING)
    assert (await jobs.get(job.id, "anonymous")).state is JobState.EXPIRED


async def test_pictures_kept_for_a_retry_make_way_for_new_jobs_in_a_full_redis(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    picture = b"x" * 1_000_000
    old = [await jobs.enqueue(a_spec(), picture) for _ in range(20)]
    for job in old:
        await jobs.cancel(job.id, "anonymous")
    with empty_redis.client() as client:
        try:
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)

            fresh = [await jobs.enqueue(a_spec(), picture) for _ in range(10)]
        finally:
            client.config_set("maxmemory", 0)

        assert all([(await jobs.get(job.id, "anonymous")).state is JobState.QUEUED for job in fresh])
        assert 0 < client.zcard(keys.KEPT) < 20
    with pytest.raises(InputGone):
        await jobs.retry(old[0].id, "anonymous", a_spec())
    assert (await jobs.retry(old[-1].id, "anonymous", a_spec())).state is JobState.QUEUED


async def test_however_small_the_kept_pictures_are_they_make_way(empty_redis: RedisServer, jobs: RedisJobStore) -> None:
    for _ in range(200):
        job = await jobs.enqueue(a_spec(), b"x" * 10_000)
        await jobs.cancel(job.id, "anonymous")
    with empty_redis.client() as client:
        try:
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)

            fresh = await jobs.enqueue(a_spec(), b"x" * 10_000)
            kept = client.zrange(keys.KEPT, -1, -1)[0].decode()
            again = await jobs.retry(kept, "anonymous", a_spec())
        finally:
            client.config_set("maxmemory", 0)

    assert (fresh.state, again.state) == (JobState.QUEUED, JobState.QUEUED)


async def test_a_claim_asked_for_again_has_its_whole_lease(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    assert work.claim("w1") is not None
    with empty_redis.client() as client:
        client.zadd(keys.LEASES, {job.id: 1})
        work._number -= 1

        assert work.claim("w1") is not None

        assert (await jobs.reap()).taken_back == 0


async def test_an_enqueueing_that_is_repeated_and_breaks_gives_a_waiting_picture_no_end(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    with empty_redis.client() as client:
        await jobs._client.set(f"{keys.PICTURE}{job.id}", PICTURE, px=keys.UNADMITTED_MS, nx=True)

        assert client.pttl(f"{keys.PICTURE}{job.id}") == -1


async def test_a_record_holds_nothing_that_the_first_versions_could_not_read(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    claim = work.claim("w1")
    assert claim is not None
    work.finish("w1", claim, Failure(code="inference-failed", detail="It failed.", dead=True), then_claim=False)

    with empty_redis.client() as client:
        record = client.hgetall(f"{keys.JOB}{job.id}")

    assert not {"retry_of", "retry_keep_ms"} & set(json.loads(record[b"spec"]))
    assert set(json.loads(record[b"failure"])) == {"code", "detail", "limit", "actual"}


async def test_a_record_of_a_later_version_is_read_as_far_as_it_is_understood(
    empty_redis: RedisServer, jobs: RedisJobStore, work: RedisWorkStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    with empty_redis.client() as client:
        spec = json.loads(client.hget(f"{keys.JOB}{job.id}", "spec") or b"")
        client.hset(f"{keys.JOB}{job.id}", "spec", json.dumps({**spec, "colour": "green"}))

    claim = work.claim("w1")

    assert claim is not None
    assert claim.spec == job.spec
