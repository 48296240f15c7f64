"""Workers that are killed, frozen, or shot by the kernel for the memory they take."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Final

from tests.faults.load import largest
from tests.faults.members import Member, Part, descendants, resident_bytes, title
from tests.faults.scenario import Report, Run, scenario
from tests.faults.trial import Trial, a_trial
from tests.faults.verdict import Verdict
from tests.faults.work import Roll, at_work
from tests.support.waiting import until

_RECOVERY_P95_S: Final = 20.0
_RECOVERY_MAX_S: Final = 30.0
_NAMES: Final = {
    "darkroom decoder": "decoder",
    "darkroom decoder (nursery)": "nursery",
    "darkroom worker": "worker",
    "darkroom worker (of 1)": "main",
}
_TIMELY_S: Final = 0.005
_PATIENT: Final = {"DARKROOM_WORKER_DECODE_S": "60"}
"""A decoder that was frozen with its worker goes on where it was, and the worker has an answer that comes too late."""

_ENDLESS: Final = 1_000_000


@scenario("F1", "worker killed, at any moment or just after an end")
def worker_killed(run: Run) -> Report:
    """All its processes at once, or the one that works, or the one that was started."""
    kills = 6 if run.short else 110
    dice = run.dice()
    hit: Counter[str] = Counter()
    timely = 0
    # So many that dozens of kills meet a job at work, which takes a few milliseconds: a quantile of few says nothing.
    with a_trial(run, rate=10 if run.short else 60, count=_ENDLESS) as trial:
        while hit.total() < kills:
            part = list(Part)[hit.total() % len(Part)]
            time.sleep(dice.uniform(0.1, 1.0))
            trial.calm()
            just_ended = _who_just_ended_a_job(trial) if hit.total() % 2 else None
            victim = just_ended or _somebody(trial) or _living(trial, dice)
            if victim.kill(part):
                hit[part] += 1
                timely += victim is just_ended
                trial.note("kill", worker=victim.name, part=part, timely=victim is just_ended)
        trial.load.stop()
        verdict = trial.verdict()
    verdict.figures["timely"] = timely
    verdict.least("timely", 0 if run.short else kills // 10)
    _judge_recovery(verdict, least=0 if run.short else kills // 10)
    return verdict.report(kills=hit.total(), **{f"kills_{part}": hit[part] for part in Part})


@scenario("F2", "worker frozen with a bell in its hands, then killed")
def worker_frozen_then_killed(run: Run) -> Report:
    """One of them, or all, so that nobody else can hear the bells of the jobs that come meanwhile."""
    rounds = 3 if run.short else 22
    dice = run.dice()
    frozen = 0
    with a_trial(run, rate=10 if run.short else 60, count=_ENDLESS) as trial:
        for number in range(rounds):
            time.sleep(dice.uniform(0.2, 1.0))
            trial.calm()
            victims = [_living(trial, dice)] if number % 2 else trial.stack.workers
            for victim in victims:
                victim.freeze()
            accepted = trial.load.accepted
            time.sleep(0.3)
            until(partial(_more_accepted, trial, accepted), what="a job to come meanwhile")
            frozen += sum(victim.kill() for victim in victims)
            until(lambda: all(worker.child() for worker in trial.stack.workers), seconds=20, what="new workers")
        trial.load.stop()
        verdict = trial.verdict()
    _judge_recovery(verdict, least=0)
    return verdict.report(rounds=rounds, killed=frozen)


@scenario("F3", "worker frozen for longer than its lease")
def worker_frozen_for_long(run: Run) -> Report:
    """Another one does its job; what it says when it is back comes too late."""
    rounds = 1 if run.short else 6
    taken_s = []
    with a_trial(run, rate=4, count=_ENDLESS, pictures=largest, worker_environ=_PATIENT) as trial:
        for _ in range(rounds):
            worker, job_id = _freeze_at_work(trial)
            start = time.monotonic()
            try:
                until(partial(_done, trial, job_id), seconds=30, what="another worker to do the job")
                taken_s.append(time.monotonic() - start)
            finally:
                worker.thaw()
            time.sleep(1.0)
        trial.load.stop()
        verdict = trial.verdict()
    _judge_recovery(verdict, least=rounds)
    verdict.least("too_late", rounds)
    return verdict.report(frozen=rounds, taken_over_max_s=round(max(taken_s), 1))


@scenario("F5", "biggest process of a worker killed while it decodes")
def worker_out_of_memory(run: Run) -> Report:
    """As the kernel does it when memory runs out; a picture that is hit twice may be called the cause."""
    kills = 3 if run.short else 20
    dice = run.dice()
    hit: Counter[str] = Counter()
    with a_trial(run, rate=4, count=_ENDLESS, pictures=largest) as trial:
        while hit.total() < kills:
            time.sleep(dice.uniform(0.3, 1.5))
            trial.calm()
            worker = until(lambda: _somebody(trial), seconds=30, what="a worker to be at work")
            time.sleep(dice.uniform(0.0, 0.2))
            biggest = max(descendants(worker.pid), key=resident_bytes)
            name = _NAMES.get(title(biggest), "other")
            with suppress(ProcessLookupError):
                os.kill(biggest, signal.SIGKILL)
                hit[name] += 1
                trial.note("kill the biggest", worker=worker.name, process=name)
        trial.load.stop()
        verdict = trial.verdict(codes={"largest": (None, "out-of-memory", "worker-crashed")})
    _judge_recovery(verdict, least=1)
    return verdict.report(kills=hit.total(), **{f"hit_{name}": number for name, number in hit.items()})


def _judge_recovery(verdict: Verdict, *, least: int) -> None:
    verdict.least("recovered", least)
    verdict.limit("recovery_p95_s", _RECOVERY_P95_S)
    verdict.limit("recovery_max_s", _RECOVERY_MAX_S)


def _living(trial: Trial, dice: random.Random) -> Member:
    living = until(
        lambda: [worker for worker in trial.stack.workers if worker.child()], seconds=30, what="a worker to live"
    )
    return dice.choice(living)


def _who_just_ended_a_job(trial: Trial) -> Member | None:
    """Who that is, told within milliseconds; None if nobody ends one that can be told so soon."""
    with Roll(trial.stack) as roll:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            job_id = trial.watch.next_ending(1)
            heard = time.monotonic()
            worker = roll.worker_of(job_id) if job_id else None
            if worker is not None and time.monotonic() - heard < _TIMELY_S:
                return worker
    return None


def _more_accepted(trial: Trial, than: int) -> bool:
    return trial.load.accepted > than


def _somebody(trial: Trial) -> Member | None:
    return next((worker for worker, _ in at_work(trial.stack)), None)


def _freeze_at_work(trial: Trial) -> tuple[Member, str]:
    def caught() -> tuple[Member, str] | None:
        for worker, job_id in at_work(trial.stack):
            worker.freeze()
            # What it had said already is with Redis by then.
            time.sleep(0.05)
            if (worker, job_id) in at_work(trial.stack):
                return worker, job_id
            worker.thaw()
        return None

    return until(caught, seconds=60, what="a worker to be caught at work")


def _done(trial: Trial, job_id: str) -> bool:
    with trial.stack.redis.client() as client:
        return client.hget(f"darkroom:job:{job_id}", "state") in {b"succeeded", b"failed"}
