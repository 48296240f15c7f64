"""A real Celery worker on a real Redis: it hears bells, comes back after trouble, and leaves in order."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from shared.adapters import keys
from shared.adapters.bell import DRAIN, routing
from shared.adapters.redis_store import RedisJobStore
from shared.jobs import Job, JobState
from tests.support.jobs import a_spec
from tests.support.old_redis import old_redis
from tests.support.pictures import a_picture, encoded
from tests.support.programs import ROOT, a_worker, environment, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, until


async def workers(store: RedisJobStore, number: int) -> None:
    async def there() -> bool:
        return len((await store.overview()).workers) == number

    await eventually(there, seconds=30, what=f"{number} workers")


def title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def ended(store: RedisJobStore, job: Job, seconds: float = 20) -> Job:
    async def done() -> Job | None:
        now = await store.get(job.id, job.spec.owner)
        return now if now.done else None

    found = await eventually(done, seconds=seconds, what="the job to end")
    assert found is not None
    return found


async def test_a_bell_wakes_a_real_worker_and_the_job_is_done(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_worker(server.url, tmp_path / "log")) as worker:
        await workers(store, 1)

        job = await ended(store, await store.enqueue(a_spec(), encoded(a_picture())))
        bad = await ended(store, await store.enqueue(a_spec(), b"\x89PNG\r\n\x1a\n but no more"))

        assert job.state is JobState.SUCCEEDED
        assert job.answer is not None
        assert sum(job.answer.scores) == pytest.approx(1, abs=1e-5)
        assert (bad.state, bad.failure and bad.failure.code) == (JobState.FAILED, "invalid-image")
        with server.client() as client:
            # Kept for a retry; that of the job which succeeded is gone.
            assert list(client.scan_iter(f"{keys.PICTURE}*")) == [f"{keys.PICTURE}{bad.id}".encode()]
        lines = [json.loads(line) for line in worker.said().splitlines() if line.startswith("{")]
        told = {line["job_id"]: line["outcome"] for line in lines if line["event"] == "job"}
        assert told == {job.id: "succeeded", bad.id: "invalid-image"}


async def test_a_bell_that_celery_itself_sends_is_heard_alike(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    job = await store.enqueue(a_spec(), encoded(a_picture()))
    with server.client() as client:
        client.delete(keys.BELL)
    with running(a_worker(server.url, tmp_path / "log", DARKROOM_WORKER_BEAT_S="5")):
        app = Celery("elsewhere", broker=server.url, set_as_current=False)
        app.conf.update(routing())
        with app.connection_for_write() as connection:
            app.send_task(DRAIN, ignore_result=True, connection=connection)

        assert (await ended(store, job)).state is JobState.SUCCEEDED


async def test_a_lost_bell_is_rung_again_by_a_sign_of_life(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    job = await store.enqueue(a_spec(), encoded(a_picture()))
    with server.client() as client:
        assert client.delete(keys.BELL) == 1

    with running(a_worker(server.url, tmp_path / "log")):
        assert (await ended(store, job)).state is JobState.SUCCEEDED


async def test_a_worker_goes_on_after_redis_was_killed(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_worker(server.url, tmp_path / "log")):
        await workers(store, 1)
        before = await ended(store, await store.enqueue(a_spec(), encoded(a_picture())))

        server.kill()
        server.start()

        after = await ended(store, await store.enqueue(a_spec(), encoded(a_picture())), seconds=40)
        assert after.state is JobState.SUCCEEDED
        assert (await store.get(before.id, before.spec.owner)).answer == before.answer


async def test_a_killed_process_is_replaced_and_the_queue_goes_on(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_worker(server.url, tmp_path / "log")) as worker:
        await workers(store, 1)
        (child,) = worker.children()

        os.kill(child, signal.SIGKILL)
        job = await store.enqueue(a_spec(), encoded(a_picture()))

        assert (await ended(store, job, seconds=40)).state is JobState.SUCCEEDED
        assert child not in worker.children()


def test_killed_again_and_again_a_process_is_replaced_within_a_moment(server: RedisServer, tmp_path: Path) -> None:
    with running(a_worker(server.url, tmp_path / "log")) as worker:
        # Without any process Celery ends before it has begun.
        until(lambda: b"(of 1)" in title(worker.pid), seconds=30, what="Celery")
        for _ in range(6):
            (process,) = until(worker.children, seconds=30, what="a process")
            until(lambda process=process: b"darkroom worker" in title(process), seconds=30)  # type: ignore[misc]

            os.kill(process, signal.SIGKILL)

            until(lambda process=process: set(worker.children()) - {process}, seconds=2)  # type: ignore[misc]


async def test_sigterm_ends_what_runs_and_says_goodbye(
    server: RedisServer, store: RedisJobStore, tmp_path: Path
) -> None:
    with running(a_worker(server.url, tmp_path / "log", DARKROOM_WORKER_PROCESSES="2")) as worker:
        await workers(store, 2)
        jobs = [await store.enqueue(a_spec(), encoded(a_picture())) for _ in range(30)]

        assert await asyncio.to_thread(worker.stop) == 0

        states = [(await store.get(job.id, job.spec.owner)).state for job in jobs]
        assert set(states) <= {JobState.SUCCEEDED, JobState.QUEUED}
        assert (await store.overview()).workers == ()


async def test_workers_share_the_queue(server: RedisServer, store: RedisJobStore, tmp_path: Path) -> None:
    with (
        running(a_worker(server.url, tmp_path / "one")),
        running(a_worker(server.url, tmp_path / "two")),
    ):
        await workers(store, 2)
        jobs = [await store.enqueue(a_spec(), encoded(a_picture())) for _ in range(300)]
        for job in jobs:
            assert (await ended(store, job, seconds=60)).state is JobState.SUCCEEDED

        async def all_reported() -> list[int]:
            done = [sighting.report.jobs_done for sighting in (await store.overview()).workers]
            return done if sum(done) == 300 else []

        assert min(await eventually(all_reported, what="the workers to report")) > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DARKROOM_WORKER_PROCESES": "2"}, "DARKROOM_WORKER_PROCESES"),
        ({"DARKROOM_WORKER_PROCESSES": "none"}, "DARKROOM_WORKER_PROCESSES: "),
    ],
)
def test_a_worker_that_cannot_be_meant_exits_with_2_and_says_why(changes: dict[str, str], sentence: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env=environment("redis://127.0.0.1:1/0", **changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 2
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_a_worker_refuses_a_redis_that_is_too_old() -> None:
    with old_redis() as url:
        run = subprocess.run(
            [sys.executable, "-m", "worker"],
            cwd=ROOT,
            env=environment(url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run.returncode == 2
    assert run.stderr == "darkroom worker: The Redis at hand is 6.0.16; Darkroom needs 6.2 or newer.\n"
