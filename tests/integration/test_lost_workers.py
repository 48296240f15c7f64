"""Real workers that are killed, stuck, deaf or told to go in the middle of a job: the job ends all the same."""

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.adapters.redis_store import RedisJobStore
from shared.jobs import Job, JobState
from tests.faults.poison import poisoned
from tests.support.jobs import a_spec
from tests.support.programs import Program, environment, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually


def a_hostile_worker(server: RedisServer, log: Path, **changes: str) -> Program:
    settings = {"DARKROOM_WORKER_BEAT_S": "0.2", "DARKROOM_WORKER_DECODE_S": "30", **changes}
    return Program("tests.faults.hostile_worker", log, environment(server.url, **settings))


async def in_state(store: RedisJobStore, job: Job, *states: JobState, attempt: int | None = None) -> Job:
    async def there() -> Job | None:
        now = await store.get(job.id, job.spec.owner)
        return now if now.state in states and attempt in {None, now.attempt} else None

    found = await eventually(there, seconds=40, what=f"the job to be {' or '.join(states)}")
    assert found is not None
    return found


async def idle(store: RedisJobStore) -> None:
    """Wait until the one worker has done its one job and lingers no more: then it needs a bell."""

    async def is_idle() -> bool:
        (seen,) = (await store.overview()).workers
        return (seen.report.state, seen.report.jobs_done) == ("idle", 1)

    await eventually(is_idle, what="the worker to be idle")


async def test_the_job_of_a_killed_process_is_done_by_the_next_one(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_hostile_worker(server, tmp_path / "log")) as worker:
        job = await in_state(store, await store.enqueue(a_spec(), poisoned("brief")), JobState.RUNNING)

        os.kill(worker.children()[0], signal.SIGKILL)

        ended = await in_state(store, job, JobState.SUCCEEDED)
        assert ended.attempt == 2


async def test_a_process_that_is_stuck_with_a_job_is_replaced(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_hostile_worker(server, tmp_path / "log", DARKROOM_WORKER_JOB_S="1")) as worker:
        stuck = await in_state(store, await store.enqueue(a_spec(), poisoned("hang")), JobState.RUNNING)
        (child,) = worker.children()

        innocent = await store.enqueue(a_spec(), poisoned("nothing"))

        await in_state(store, innocent, JobState.SUCCEEDED, attempt=1)
        assert child not in worker.children()
        assert "job_stuck" in worker.said()
        await in_state(store, stuck, JobState.RUNNING, attempt=2)


async def test_a_worker_that_must_go_gives_back_what_it_cannot_finish(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_hostile_worker(server, tmp_path / "log", DARKROOM_WORKER_DRAIN_S="1")) as worker:
        job = await in_state(store, await store.enqueue(a_spec(), poisoned("hang")), JobState.RUNNING)

        await asyncio.to_thread(worker.stop, 20)

        waiting = await store.get(job.id, job.spec.owner)
        assert (waiting.state, waiting.attempt, waiting.position) == (JobState.QUEUED, 0, 1)


async def test_a_stop_that_is_said_to_every_process_interrupts_no_job(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_hostile_worker(server, tmp_path / "log", DARKROOM_WORKER_BEAT_S="0.2")) as worker:
        job = await in_state(store, await store.enqueue(a_spec(), poisoned("brief")), JobState.RUNNING)

        for child in worker.children():
            os.kill(child, signal.SIGTERM)
        assert await asyncio.to_thread(worker.stop, 20) == 0

        ended = await store.get(job.id, job.spec.owner)
        assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_worker_whose_celery_hangs_replaces_itself(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_hostile_worker(server, tmp_path / "log")) as worker:
        await in_state(store, await store.enqueue(a_spec(), poisoned("nothing")), JobState.SUCCEEDED)
        await idle(store)
        os.kill(worker.pid, signal.SIGSTOP)

        job = await store.enqueue(a_spec(), poisoned("nothing"))

        assert await asyncio.to_thread(worker.process.wait, 40) == -signal.SIGKILL
        assert "worker_deaf" in worker.said()
        assert (await store.get(job.id, job.spec.owner)).state is JobState.QUEUED


@pytest.mark.parametrize("started", ["before", "after"])
async def test_a_full_redis_is_worked_empty(
    server: RedisServer, store: RedisJobStore, tmp_path: Path, started: str
) -> None:
    with ExitStack() as opened, server.client() as client:
        members: list[int] = []
        if started == "before":
            worker = opened.enter_context(running(a_hostile_worker(server, tmp_path / "log")))
            await in_state(store, await store.enqueue(a_spec(), poisoned("nothing")), JobState.SUCCEEDED)
            await idle(store)
            members = [worker.pid, *worker.children()]
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        jobs = [await store.enqueue(a_spec(), poisoned("nothing")) for _ in range(30)]
        client.config_set("maxmemory", 1)
        for pid in members:
            os.kill(pid, signal.SIGCONT)
        try:
            if started == "after":
                opened.enter_context(running(a_hostile_worker(server, tmp_path / "log")))

            for job in jobs:
                await in_state(store, job, JobState.SUCCEEDED, attempt=1)
        finally:
            client.config_set("maxmemory", 0)


async def test_a_worker_that_cannot_start_a_decoder_takes_no_bells(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    job = await store.enqueue(a_spec(), poisoned("nothing"))
    worker = Program("tests.support.worker_without_decoder", tmp_path / "log", environment(server.url))
    with running(worker):
        await eventually(lambda: tried(worker), seconds=40, what="a second try to start")

        now = await store.get(job.id, job.spec.owner)

    assert (now.state, now.attempt) == (JobState.QUEUED, 0)
    assert (await store.overview()).workers == ()


async def tried(worker: Program) -> bool:
    return worker.said().count("process_not_started") > 1
