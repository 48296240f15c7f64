"""The line between the programs and Redis breaks, swallows, or lies."""

import time
from contextlib import suppress
from functools import partial
from operator import gt

from shared.adapters import keys
from tests.faults.lines import Lines, of_a_broker, of_a_listener, of_a_store, orphaned, over_lines, talked_into
from tests.faults.proxy import Proxy, Which
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.verdict import quantile
from tests.faults.work import Roll
from tests.support.waiting import until

_DETECTED_S = 15.0
_REPLACED_S = 20.0
_SHORT_HOLE_S = 5.0
_LONG_HOLE_S = 12.0
"""Longer than a lease."""
_FEW = 10
_KNOWN_S = 0.02


@scenario("F16", "the line to Redis is reset, or swallows everything for a while")
def the_line_breaks(run: Run) -> Report:
    """No job is lost; one whose worker is cut off for longer than its lease is done by another."""
    resets = 3 if run.short else 30
    with over_lines(run, rate=12) as lines:
        stack = lines.trial.stack
        broken = 0
        for _ in range(resets):
            broken += sum(line.reset() for line in lines.of_workers)
            time.sleep(1)
        for _ in range(0 if run.short else 3):
            for line in lines.of_workers:
                line.black_hole()
            time.sleep(_SHORT_HOLE_S)
            _heal(lines)
            _wait_for_progress(lines)
        held = []
        for turn in range(1 if run.short else 4):
            number = turn % len(stack.workers)
            held.append(_cut_off_at_work(lines, number))
            time.sleep(_LONG_HOLE_S)
            _heal(lines)
            with suppress(TimeoutError):
                until(lambda: _late(stack) >= len(held), seconds=30)
            _wait_for_progress(lines)
        lines.trial.load.stop()
        verdict = lines.trial.verdict()
        again = [job_id for job_id in held if _attempts(stack, job_id) > 1]
    verdict.figures.update(resets=broken, long_holes=len(held), taken_back=len(again))
    verdict.least("taken_back", len(held))
    verdict.least("too_late", len(held))
    return verdict.report()


@scenario("F17", "lines are half open, or a worker stays deaf")
def lines_are_half_open(run: Run) -> Report:
    """Whoever talks into a dead line finds out; a worker that hears no bell for long is replaced."""
    rounds = 1 if run.short else 5
    detected: dict[str, list[float]] = {"broker": [], "store": [], "listener": []}
    with over_lines(run, rate=6) as lines:
        load = lines.trial.load
        for turn in range(rounds):
            gone: list[tuple[str, Proxy, Which]] = [
                ("broker", lines.of_workers[turn % 2], of_a_broker),
                ("store", lines.of_workers[1 - turn % 2], of_a_store),
                ("listener", lines.of_gateways[turn % 2], of_a_listener),
            ]
            for name, line, which in gone:
                until(partial(line.connections, which), what=f"a {name}'s line")
            for name, seconds in _half_open(gone).items():
                detected[name].append(seconds)
            _wait_for_progress(lines)
        replaced_s = _deafen(lines)
        load.stop()
        verdict = lines.trial.verdict()
    for name, found in detected.items():
        verdict.figures[f"{name}_max_s"] = quantile(found, 1.0)
        if len(found) < rounds:
            verdict.problems.append(f"a half-open line of a {name} was talked into for {_DETECTED_S} s")
    verdict.figures["replaced_s"] = replaced_s
    verdict.limit("replaced_s", _REPLACED_S)
    verdict.limit("max_s", _REPLACED_S + _DETECTED_S)
    return verdict.report()


def _half_open(gone: list[tuple[str, Proxy, Which]]) -> dict[str, float]:
    """After how many seconds those of each name were given up that were talked into; where one never was, none."""
    start = time.monotonic()
    taken = {name: line.half_open(which) for name, line, which in gone}
    left = {name: line for name, line, _ in gone}
    seconds: dict[str, float] = {}

    def given_up() -> bool:
        for name, line in list(left.items()):
            if line.connections(orphaned) < taken[name] and not line.connections(talked_into):
                seconds[name] = round(time.monotonic() - start, 2)
                del left[name]
        return not left

    with suppress(TimeoutError):
        until(given_up, seconds=_DETECTED_S)
    return seconds


def _deafen(lines: Lines) -> float:
    """After how many seconds both workers were started anew that hear no bell any more, and again none."""
    workers = lines.trial.stack.workers
    starts = [worker.starts for worker in workers]
    start = time.monotonic()
    for line in lines.of_workers:
        line.black_hole(which=of_a_broker)
    with suppress(TimeoutError):
        until(lambda: all(map(gt, (worker.starts for worker in workers), starts)), seconds=2 * _REPLACED_S)
    seconds = round(time.monotonic() - start, 2)
    _heal(lines)
    return seconds


def _cut_off_at_work(lines: Lines, number: int) -> str:
    """Swallow all that this worker says while it has a job; that job's id."""
    stack, line = lines.trial.stack, lines.of_workers[number]
    roll = Roll(stack)

    def its_job() -> str | None:
        held = (job_id.decode() for job_id in client.zrange(keys.LEASES, 0, -1))
        return next((job_id for job_id in held if roll.worker_of(job_id) is stack.workers[number]), None)

    def cut_off() -> str | None:
        job_id = its_job()
        if job_id is None:
            return None
        # Held for so long, the worker knows that it has it.
        time.sleep(_KNOWN_S)
        if its_job() != job_id:
            return None
        line.black_hole()
        if its_job() == job_id:
            return job_id
        # It had finished in that moment, and had nothing else.
        line.heal()
        return None

    with stack.redis.client() as client:
        return until(cut_off, seconds=30, what="a job in the hands of the worker to be cut off")


def _heal(lines: Lines) -> None:
    for line in (*lines.of_gateways, *lines.of_workers):
        line.heal()


def _wait_for_progress(lines: Lines) -> None:
    load = lines.trial.load
    with suppress(TimeoutError):
        until(lambda: load.accepted - load.ended < _FEW, seconds=30)


def _late(stack: Stack) -> int:
    return sum(worker.said().count('"outcome": "too late"') for worker in stack.workers)


def _attempts(stack: Stack, job_id: str) -> int:
    with stack.redis.client() as client:
        return int(client.hget(f"{keys.JOB}{job_id}", "attempt") or 0)
