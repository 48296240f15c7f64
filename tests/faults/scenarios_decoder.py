"""Pictures that crash, hang or bloat the process that decodes them, among innocent ones."""

import random
from typing import Final

from tests.faults.load import Load, Picture, Pictures, small_picture
from tests.faults.poison import poisoned
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.verdict import judge, most_attempts, quantile, seconds_by_tag
from tests.faults.watching import Watch, note_leftovers

_CODES: Final = {
    "segfault": ("invalid-image",),
    "exit": ("invalid-image",),
    "bomb": ("out-of-memory",),
    "shot": ("out-of-memory",),
    "hang": ("decode-timeout",),
}
_DELAY_S: Final = 1.0
_MOST_EXECUTIONS: Final = 3


@scenario("F6", "a fifth of the pictures crash or bloat the decoder")
def decoder_crashes(run: Run) -> Report:
    """They fail, each with its code; the others hardly notice."""
    return _poison(run, ("segfault", "bomb", "exit", "shot"), rate=15, count=75 if run.short else 900)


@scenario("F7", "a fifth of the pictures hang the decoder")
def decoder_hangs(run: Run) -> Report:
    """They fail with `decode-timeout`; the others wait for them hardly longer than the limit."""
    return _poison(run, ("hang",), rate=4, count=30 if run.short else 240, DARKROOM_WORKER_DECODE_S="0.5")


def _poison(run: Run, kinds: tuple[str, ...], *, rate: float, count: int, **environ: str) -> Report:
    def among(kind: str) -> Pictures:
        return lambda dice, number: Picture(tag=kind, content=small_picture().content)

    def poison(dice: random.Random, number: int) -> Picture:
        if number % 5:
            return Picture(tag="innocent", content=small_picture().content)
        kind = kinds[number // 5 % len(kinds)]
        return Picture(tag=kind, content=poisoned(kind))

    phases: tuple[tuple[Pictures, int], ...] = (
        (among("before"), count // 3),
        (poison, count),
        (among("after"), count // 3),
    )
    stack = Stack(run.folder, worker_module="tests.faults.hostile_worker", worker_environ=environ)
    problems = []
    with stack, Watch(run.folder, stack.redis):
        workers = [worker.child() for worker in stack.workers]
        for pictures, jobs in phases:
            with Load(run.folder, stack.urls, rate=rate, count=jobs, seed=run.seed, pictures=pictures) as load:
                load.finish(60 + jobs / rate)
        if [worker.child() for worker in stack.workers] != workers:
            problems.append("a worker process was lost")
        note_leftovers(run.folder, stack.redis)
    verdict = judge(run.folder, codes=_CODES)
    verdict.problems.extend(problems)
    took = seconds_by_tag(run.folder)
    control = max(quantile(took.get("before", ()), 0.95) or 0, quantile(took.get("after", ()), 0.95) or 0)
    innocent = quantile(took.get("innocent", ()), 0.95) or 0
    verdict.figures.update(control_p95_s=control, innocent_p95_s=innocent, attempts_max=most_attempts(run.folder))
    verdict.limit("innocent_p95_s", control + _DELAY_S)
    verdict.limit("attempts_max", _MOST_EXECUTIONS)
    return verdict.report()
