"""Few jobs at a time, each with a fate of its own: what a load would soon make good again."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import httpx2

from shared.adapters import keys
from tests.faults import calls
from tests.faults.load import Load, only_small
from tests.faults.members import Member, descendants, title
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.trial import Trial
from tests.faults.verdict import Verdict, lines, quantile
from tests.faults.watching import Watch
from tests.faults.work import at_work
from tests.support.waiting import until

_HELD_S: Final = 13.0
"""Longer than a lease, and than a lease and a look of the reaper."""
_ENDS_S: Final = 25.0
_TAKEN_OVER_S: Final = 15.0
_RUNG_S: Final = 25.0
_DECODE_S: Final = "30"


@scenario("F31", "jobs in hand for longer than a lease")
def jobs_in_hand_for_long(run: Run) -> Report:
    """Five workers at once. Who lives keeps its job; who died or froze loses it, and says nothing by coming late."""
    with (
        Stack(run.folder, gateways=1, workers=5, worker_environ={"DARKROOM_WORKER_DECODE_S": _DECODE_S}) as stack,
        Watch(run.folder, stack.redis) as watch,
    ):
        stack.wait_workers(5)
        for worker in stack.workers:
            _signal_decoder(worker, signal.SIGSTOP)
        with Load(run.folder, stack.urls, rate=20, count=5, seed=run.seed, pictures=only_small) as load:
            trial = Trial(run=run, stack=stack, load=load, watch=watch)
            (slow, kept), (asked, stopped), (frozen, given_up), (late, missed), (killed, lost) = _all_at_work(trial)
            start = time.monotonic()
            for worker in (frozen, late):
                worker.freeze()
            killed.kill()
            for job_id in (stopped, given_up):
                httpx2.post(f"{stack.urls[0]}/v1/jobs/{job_id}/cancel", timeout=10).raise_for_status()
            with suppress(TimeoutError):
                until(partial(_all_succeeded, stack.urls[0], (missed, lost)), seconds=_TAKEN_OVER_S + 5)
            taken_over_s = round(time.monotonic() - start, 1)
            time.sleep(max(0.0, start + _HELD_S - time.monotonic()))
            for worker in (slow, asked, frozen, late):
                _signal_decoder(worker, signal.SIGCONT)
            for worker, job_id in ((frozen, given_up), (late, missed)):
                worker.thaw()
                until(partial(_has_spoken, worker, job_id), seconds=20, what=f"{worker.name} to come late")
            verdict = trial.verdict(seconds=_ENDS_S, codes={"small": (None, "canceled")})
            for job_id, status, attempts in (
                (kept, "succeeded", 1),
                (stopped, "canceled", 1),
                (given_up, "canceled", 1),
                (missed, "succeeded", 2),
                (lost, "succeeded", 2),
            ):
                verdict.problems.extend(_differences(stack.urls[0], job_id, status, attempts))
    verdict.figures["taken_over_s"] = taken_over_s
    # Two that were frozen, and one that was asked to stop.
    verdict.least("too_late", 3)
    verdict.limit("taken_over_s", _TAKEN_OVER_S)
    return verdict.report()


@scenario("F32", "the only bell lost with who took it")
def the_only_bell_is_lost(run: Run) -> Report:
    """No other job comes whose bell would do for it: somebody must see that a job waits in silence, and ring."""
    rounds = 1 if run.short else 6
    verdict = Verdict()
    took_s: list[float] = []
    with Stack(run.folder, gateways=1, workers=1) as stack, stack.redis.client() as client:
        (worker,) = stack.workers
        for _ in range(rounds):
            stack.wait_workers(1)
            worker.freeze()
            job_id = calls.submit(stack.urls[0])
            until(partial(_taken, partial(client.llen, keys.BELL)), what="the frozen worker to take the bell")
            start = time.monotonic()
            worker.kill()
            said = calls.said(calls.look(stack.urls[0], job_id, _RUNG_S))
            if said != "succeeded":
                verdict.problems.append(f"1 accepted and not ended: {job_id}, {said} for {_RUNG_S} s")
            took_s.append(time.monotonic() - start)
    verdict.figures.update(rounds=rounds, done_max_s=quantile(took_s, 1.0))
    return verdict.report()


def _all_at_work(trial: Trial) -> list[tuple[Member, str]]:
    def held() -> list[tuple[Member, str]] | None:
        found = at_work(trial.stack)
        return found if len({worker.name for worker, _ in found}) == len(trial.stack.workers) else None

    return until(held, seconds=20, what="every worker to have a job in hand")


def _all_succeeded(url: str, ids: Sequence[str]) -> bool:
    return all(calls.status_of(url, job_id) == "succeeded" for job_id in ids)


def _signal_decoder(worker: Member, number: int) -> None:
    """Its decoder alone: the worker itself goes on, and waits for it."""
    (decoder,) = (pid for pid in descendants(worker.pid) if title(pid) == "darkroom decoder")
    os.kill(decoder, number)


def _has_spoken(worker: Member, job_id: str) -> bool:
    return any(line.get("event") == "job" and line["job_id"] == job_id for line in lines(worker.log))


def _taken(bells: Callable[[], object]) -> bool:
    return bells() == 0


def _differences(url: str, job_id: str, status: str, attempts: int) -> list[str]:
    answer = calls.look(url, job_id)
    if calls.said(answer) != status:
        return [f"{job_id} is {calls.said(answer)} and should be {status}"]
    assert answer is not None
    tried = answer.json()["attempt"]
    return [] if tried == attempts else [f"{job_id} was tried {tried} times and should be {attempts}"]
