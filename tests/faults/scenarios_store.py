"""What Redis holds is gone, is very much, or has had its time."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx2

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.jobs import JobState
from tests.faults import calls
from tests.faults.load import long_picture
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.verdict import Verdict, quantile
from tests.faults.watching import note_leftovers
from tests.support.jobs import a_spec
from tests.support.pictures import a_picture, encoded
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

_GONE: Final = {"404 job-not-found", "410 job-expired"}
_UNKNOWN: Final = f"job_{'0' * 32}"
_WAIT_S: Final = 30
_LONGEST_S: Final = 5.0
_SHARE: Final = 20
_DRAINED_S: Final = 240
_SETTLE_S: Final = 0.3
"""So long a caller is given until its request is one that waits."""


@scenario("F12", "Redis comes back empty")
def redis_comes_back_empty(run: Run) -> Report:
    """Whoever asks after a job learns that it is gone; nobody waits for it, and work goes on."""
    verdict = Verdict()
    waits_s: list[float] = []
    resumed_s: list[float] = []
    with (
        Stack(
            run.folder,
            redis_options=("--appendonly", "no"),
            gateway_environ={"DARKROOM_GATEWAY_THROWAWAY_REDIS": "true"},
        ) as stack,
        ThreadPoolExecutor(16) as callers,
    ):
        urls = list(stack.urls)
        stack.start_gateway(DARKROOM_GATEWAY_THROWAWAY_REDIS="false")
        until(partial(calls.lives, stack.urls[-1]), seconds=30)
        ready = httpx2.get(f"{stack.urls[-1]}/health/ready", timeout=10)
        if ready.status_code != 503 or "append-only" not in ready.text:
            verdict.problems.append(f"a gateway is ready without an append-only file: {ready.status_code}")
        for _ in range(1 if run.short else 6):
            ended = [calls.submit(url) for url in urls]
            for url, job_id in zip(urls, ended, strict=True):
                calls.look(url, job_id, _WAIT_S)
            waiting = [calls.submit(url, long_picture()) for url in urls * 2]
            for worker in stack.workers:
                worker.freeze()
            waiting += [calls.submit(url) for url in urls * 2]
            asked = [callers.submit(calls.look, urls[turn % 2], job_id, _WAIT_S) for turn, job_id in enumerate(waiting)]
            time.sleep(_SETTLE_S)
            stack.kill_redis(0.3)
            start = time.monotonic()
            heard = Counter(map(calls.said, _answers(asked)))
            waits_s.append(time.monotonic() - start)
            for worker in stack.workers:
                worker.thaw()
            resumed_s.append(_until_one_is_done(urls[0], start))
            # A job may have ended before its worker was frozen; a caller may have come when Redis was away.
            if wrong := set(heard) - _GONE - {"succeeded", "503 broker-unavailable"}:
                verdict.problems.append(f"who waited for a job that is gone was told: {', '.join(sorted(wrong))}")
            if wrong := {calls.status_of(url, job_id) for url in urls for job_id in (*ended, *waiting)} - _GONE:
                verdict.problems.append(f"of a job that is gone it is said: {', '.join(sorted(wrong))}")
    verdict.figures.update(waits_max_s=quantile(waits_s, 1.0), resumed_max_s=quantile(resumed_s, 1.0))
    verdict.limit("waits_max_s", 10.0)
    verdict.limit("resumed_max_s", 30.0)
    return verdict.report()


@scenario("F20", "a queue of a hundred thousand jobs")
def a_huge_queue(run: Run) -> Report:
    """Submitting and asking take no longer than with an empty queue, and Redis comes back with all of it."""
    size, probes, drained_s = (5_000, 60, 8) if run.short else (100_000, 300, 40)
    verdict = Verdict()
    with Stack(run.folder, workers=0, gateway_environ={"DARKROOM_GATEWAY_RETRY_KEEP_S": "0"}) as stack:
        url = stack.urls[0]
        empty = Probe.of(url, probes)
        start = time.monotonic()
        first = size // _SHARE
        ids = asyncio.run(_fill(stack.redis.url, first))
        # The rest expires, as late as it takes to bring it in here, and somewhat later.
        queue_ttl_s = drained_s + round(1.5 * (time.monotonic() - start) * _SHARE)
        ids += asyncio.run(_fill(stack.redis.url, size - first, queue_ttl_s))
        filled_s = time.monotonic() - start
        full = Probe.of(url, probes)
        ids += [*empty.ids, *full.ids]
        if (before := _depth(stack.redis)) != len(ids):
            verdict.problems.append(f"{before} of {len(ids)} jobs are in the queue")
        start = time.monotonic()
        stack.kill_redis(0.0)
        until(lambda: calls.status_of(url, ids[-1]) == "queued", seconds=60, what="the gateway to know the last job")
        restarted_s = time.monotonic() - start
        if (after := _depth(stack.redis)) != before:
            verdict.problems.append(f"{after} of {before} jobs are in the queue after Redis was killed")
        for _ in range(2):
            stack.start_worker()
        asked_s: list[float] = []
        with suppress(TimeoutError):
            until(lambda: _asked(url, ids[0], asked_s) and not _depth(stack.redis), seconds=queue_ttl_s + _DRAINED_S)
            until(lambda: not note_leftovers(run.folder, stack.redis), seconds=20)
        states = _states(stack.redis, ids)
        held = note_leftovers(run.folder, stack.redis)
    ended = sum(states[state] for state in JobState if state.done)
    verdict.figures.update(
        jobs=len(ids),
        lost=len(ids) - ended,
        succeeded=states[JobState.SUCCEEDED],
        expired=states[JobState.EXPIRED],
        filled_s=round(filled_s, 1),
        restarted_s=round(restarted_s, 2),
        submit_p50_empty_s=empty.submit_s(0.5),
        submit_p50_full_s=full.submit_s(0.5),
        submit_p95_empty_s=empty.submit_s(0.95),
        submit_p95_full_s=full.submit_s(0.95),
        ask_p50_empty_s=empty.ask_s(0.5),
        ask_p50_full_s=full.ask_s(0.5),
        ask_p95_empty_s=empty.ask_s(0.95),
        ask_p95_full_s=full.ask_s(0.95),
        ask_p95_meanwhile_s=quantile(asked_s, 0.95),
    )
    for call in ("submit", "ask"):
        # A queue that was walked through would cost tens of milliseconds every time; a slow machine does so sometimes.
        for share, slack_s in (("p50", 0.01), ("p95", 0.1)):
            usual = float(verdict.figures[f"{call}_{share}_empty_s"] or 0)
            verdict.limit(f"{call}_{share}_full_s", 2 * usual + slack_s)
    verdict.limit("lost", 0)
    verdict.limit("restarted_s", 30.0)
    verdict.limit("ask_p95_meanwhile_s", _LONGEST_S)
    verdict.least("succeeded", 1)
    verdict.least("expired", 1)
    if states[JobState.FAILED] or states[JobState.CANCELED]:
        verdict.problems.append(f"jobs ended otherwise than they may: {dict(states)}")
    if held:
        verdict.problems.append(f"in Redis though all has ended: {held}")
    return verdict.report()


@scenario("F26", "a result has its time while its client waits")
def a_result_expires(run: Run) -> Report:
    """Whoever waits or asks then is told so at once, by whichever gateway; an id that never was is another thing."""
    rounds = 2 if run.short else 20
    verdict = Verdict()
    told_s: list[float] = []
    with Stack(run.folder, workers=1) as stack, ThreadPoolExecutor(4) as callers:
        (worker,) = stack.workers
        for turn in range(rounds):
            waited_at = turn % 2
            worker.freeze()
            job_id = calls.submit(stack.urls[1 - waited_at], result_ttl_s=1)
            asked = [
                callers.submit(calls.look, stack.urls[waited_at], job_id, _WAIT_S),
                callers.submit(calls.look, stack.urls[waited_at], f"{job_id}/result", _WAIT_S),
            ]
            time.sleep(_SETTLE_S)
            stack.gateways[waited_at].freeze()
            worker.thaw()
            until(partial(_known, stack.redis, job_id, JobState.SUCCEEDED), what="the job to end")
            until(partial(_unknown, stack.redis, job_id), what="its record to go")
            stack.gateways[waited_at].thaw()
            start = time.monotonic()
            heard = set(map(calls.said, _answers(asked)))
            told_s.append(time.monotonic() - start)
            heard |= {calls.status_of(url, name) for url in stack.urls for name in (job_id, f"{job_id}/result")}
            if heard != {"410 job-expired"}:
                verdict.problems.append(f"of a job whose time has passed it is said: {', '.join(sorted(heard))}")
            if never := {calls.status_of(url, _UNKNOWN) for url in stack.urls} - {"404 job-not-found"}:
                verdict.problems.append(f"of a job that never was it is said: {', '.join(sorted(never))}")
    verdict.figures.update(rounds=rounds, told_max_s=quantile(told_s, 1.0))
    verdict.limit("told_max_s", 5.0)
    return verdict.report()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How long so many submits took, one after the other, and so many looks at these jobs."""

    ids: tuple[str, ...]
    submits_s: tuple[float, ...]
    asks_s: tuple[float, ...]

    @classmethod
    def of(cls, url: str, times: int) -> "Probe":
        """Over one connection each, as a client of the product does."""
        ids, submits_s, asks_s = [], [], []
        body, headers = calls.body(), {"Content-Type": "application/json"}
        with httpx2.Client(base_url=url, timeout=30) as http:
            for _ in range(times):
                start = time.perf_counter()
                answer = http.post("/v1/jobs", content=body, headers=headers)
                submits_s.append(time.perf_counter() - start)
                ids.append(str(answer.json()["id"]))
            for job_id in ids:
                start = time.perf_counter()
                http.get(f"/v1/jobs/{job_id}").raise_for_status()
                asks_s.append(time.perf_counter() - start)
        return cls(ids=tuple(ids), submits_s=tuple(submits_s), asks_s=tuple(asks_s))

    def submit_s(self, share: float) -> float | None:
        """The time that so large a share of the submits did not exceed."""
        return quantile(self.submits_s, share)

    def ask_s(self, share: float) -> float | None:
        """The same of the looks."""
        return quantile(self.asks_s, share)


async def _fill(url: str, jobs: int, queue_ttl_s: int = 3600) -> list[str]:
    # By the gateway's own store and not over HTTP: a hundred thousand requests would be minutes.
    store = RedisJobStore.from_url(url, connections=16, bell=Bell())
    picture = encoded(a_picture(8, 8))
    specs = [a_spec(queue_ttl_ms=queue_ttl_s * 1000, retry_keep_ms=0) for _ in range(jobs)]
    left = iter(specs)

    async def enqueue() -> None:
        for spec in left:
            await store.enqueue(spec, picture)

    await asyncio.gather(*(enqueue() for _ in range(16)))
    await store.close()
    return [spec.id for spec in specs]


def _asked(url: str, job_id: str, asked_s: list[float]) -> bool:
    start = time.perf_counter()
    calls.look(url, job_id)
    asked_s.append(time.perf_counter() - start)
    return True


def _depth(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.zcard(keys.WAITING)) + int(client.zcard(keys.LEASES))


def _states(server: RedisServer, ids: Sequence[str]) -> Counter[str]:
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for job_id in ids:
            pipeline.hget(f"{keys.JOB}{job_id}", "state")
        return Counter(state.decode() for state in pipeline.execute() if state is not None)


def _known(server: RedisServer, job_id: str, state: JobState | None = None) -> bool:
    with server.client() as client:
        found = client.hget(f"{keys.JOB}{job_id}", "state")
    return found is not None and (state is None or found == state.encode())


def _unknown(server: RedisServer, job_id: str) -> bool:
    return not _known(server, job_id)


def _answers(asked: Sequence[Future[httpx2.Response | None]]) -> list[httpx2.Response | None]:
    return [future.result(_WAIT_S + 30) for future in asked]


def _until_one_is_done(url: str, start: float) -> float:
    """How many seconds after `start` a job that came later has ended."""

    def done() -> bool:
        with suppress(AssertionError, httpx2.TransportError):
            return calls.said(calls.look(url, calls.submit(url), 5)) == "succeeded"
        return False

    until(done, seconds=60, what="a job to be done again")
    return time.monotonic() - start
