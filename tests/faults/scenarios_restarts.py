"""Redis that is killed and comes back, and an orderly restart of everything else, under load."""

import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.faults.load import ACCEPTED, SIGHTINGS, Picture, mixed
from tests.faults.members import Member
from tests.faults.poison import poisoned
from tests.faults.scenario import Report, Run, scenario
from tests.faults.trial import Trial, a_trial
from tests.faults.verdict import lines, quantile, seconds_by_tag
from tests.faults.work import at_work
from tests.support.waiting import until

_BACK_S: Final = 5.0
_DRAIN_S: Final = 30.0
_LEASE_S: Final = 10.0
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
_ENDLESS: Final = 1_000_000


@scenario("F11", "Redis killed and restarted under load")
def redis_killed(run: Run) -> Report:
    """What was accepted is in the append-only file; with Redis back, new jobs are done within seconds."""
    kills = 2 if run.short else 22
    dice = run.dice()
    back: list[float] = []
    with (
        # While a disk lags, Redis answers before it writes: what it loses then is the disk's doing, and documented.
        TemporaryDirectory(prefix="faults-", dir=_MEMORY if _MEMORY.is_dir() else None) as memory,
        a_trial(run, rate=15 if run.short else 25, count=_ENDLESS, redis_folder=Path(memory)) as trial,
    ):
        for _ in range(kills):
            time.sleep(dice.uniform(1.0, 3.0))
            trial.calm()
            trial.note("kill redis")
            trial.stack.kill_redis(dice.uniform(0.2, 3.0))
            trial.note("redis is back")
            back.append(time.time())
        time.sleep(_BACK_S / 2)
        trial.load.stop()
        verdict = trial.verdict()
    delays = _first_new_ends(run.folder, back)
    verdict.figures.update(new_job_p50_s=quantile(delays, 0.5), new_job_max_s=quantile(delays, 1.0))
    verdict.least("new_job_max_s", 0)
    verdict.limit("new_job_max_s", _BACK_S)
    verdict.limit("duplicates", 0)
    return verdict.report(kills=kills)


@scenario("F29", "workers and gateways told to stop under load")
def told_to_stop(run: Run) -> Report:
    """They end what they have or hand it over, and no job is tried twice; one takes longer than they have to stop."""
    rounds = 3 if run.short else 24
    dice = run.dice()
    drains: dict[str, list[float]] = {"worker": [], "gateway": []}
    statuses = set()
    environ = {"DARKROOM_WORKER_DECODE_S": "30", "DARKROOM_WORKER_DRAIN_S": "2"}
    with a_trial(
        run,
        rate=10 if run.short else 15,
        count=_ENDLESS,
        pictures=_one_slow,
        workers=3,
        worker_module="tests.faults.hostile_worker",
        worker_environ=environ,
    ) as trial:
        slow = until(lambda: _slow_job(run.folder), what="the slow job to be accepted")
        member = until(lambda: _holder(trial, slow), seconds=20, what="a worker to have the slow job")
        for number in range(rounds):
            seconds, status = _stopped(member)
            trial.note("stop", member=member.name, seconds=seconds, status=status)
            drains["gateway" if member in trial.stack.gateways else "worker"].append(seconds)
            statuses.add(f"{member.name} {status}")
            until(lambda: _all_there(trial), seconds=40, what="all to be there again")
            time.sleep(dice.uniform(0.5, 1.5))
            member = dice.choice(trial.stack.gateways if number % 4 == 1 else trial.stack.workers)
        trial.load.stop()
        verdict = trial.verdict()
    for module, times in drains.items():
        verdict.figures[f"{module}_drain_max_s"] = quantile(times, 1.0)
        verdict.limit(f"{module}_drain_max_s", _DRAIN_S)
    took = seconds_by_tag(run.folder)
    verdict.figures.update(
        others_max_s=quantile([*took.get("small", ()), *took.get("long", ())], 1.0),
        slow_s=quantile(took.get("slow", ()), 1.0),
    )
    verdict.limit("others_max_s", _BACK_S)
    verdict.least("slow_s", _LEASE_S)
    verdict.limit("duplicates", 0)
    verdict.problems.extend(f"it ended with {status}" for status in sorted(statuses) if not status.endswith(" 0"))
    return verdict.report(stops=rounds)


def _one_slow(dice: random.Random, number: int) -> Picture:
    return Picture(tag="slow", content=poisoned("slow")) if number == 0 else mixed(dice, number)


def _slow_job(folder: Path) -> str | None:
    return next((line["id"] for line in lines(folder / ACCEPTED) if line["tag"] == "slow"), None)


def _holder(trial: Trial, wanted: str) -> Member | None:
    return next((member for member, job_id in at_work(trial.stack) if job_id == wanted), None)


def _all_there(trial: Trial) -> bool:
    return trial.stack.ready() and all(worker.child() for worker in trial.stack.workers)


def _stopped(member: Member) -> tuple[float, int]:
    member.supervised = False
    start = time.monotonic()
    member.terminate()
    until(lambda: member.exit_code is not None, seconds=60, what=f"{member.name} to stop")
    seconds = time.monotonic() - start
    status = member.exit_code
    assert status is not None
    member.supervised = True
    return seconds, status


def _first_new_ends(folder: Path, moments: list[float]) -> list[float]:
    """For each moment how long it took until a job had ended that was accepted after it."""
    ends = [sight for sight in lines(folder / SIGHTINGS) if sight.get("finished_s") and sight["sight"] == "first"]
    delays = []
    for moment in moments:
        later = [sight["finished_s"] for sight in ends if sight["created_s"] >= moment]
        delays.append(min(later) - moment if later else float("inf"))
    return delays
