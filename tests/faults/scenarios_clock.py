"""The wall clocks of the programs are wrong, and jump."""

import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults import wrong_clock
from tests.faults.scenario import Report, Run, scenario
from tests.faults.trial import a_trial
from tests.faults.verdict import lines
from tests.support.waiting import until

_HOUR_S: Final = 3600.0
_QUEUE_TTL_S: Final = 60
_LONGEST_S: Final = 30.0


class Clock:
    """The wall clock of the programs that are started with its environment."""

    def __init__(self, path: Path, wrong_s: float) -> None:
        self._path = path
        path.write_bytes(bytes(16))
        self.set(wrong_s)

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to have this clock."""
        return {"PYTHONPATH": next(iter(wrong_clock.__path__)), "WRONG_CLOCK": str(self._path)}

    def set(self, wrong_s: float) -> None:
        """Let it be wrong by so many seconds from now on."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", wrong_s))

    def asked(self) -> int:
        """How often programs have looked at it."""
        return int(struct.unpack("Q", self._path.read_bytes()[8:])[0])


@scenario("F18", "clocks are an hour wrong, and jump by two")
def clocks_are_wrong(run: Run) -> Report:
    """Redis's clock alone decides: nothing expires early, nothing is done twice, nobody is given up."""
    jumps = 2 if run.short else 12
    dice = run.dice()
    of_gateways = Clock(run.folder / "gateways.clock", -_HOUR_S)
    of_a_worker = Clock(run.folder / "worker.clock", _HOUR_S)
    heard: list[int | None] = []
    idle: list[str] = []
    with a_trial(
        run,
        rate=15,
        count=1_000_000,
        options={"queue_ttl_s": _QUEUE_TTL_S},
        gateway_environ=of_gateways.environ,
        workers=1,
    ) as trial:
        wrong = trial.stack.start_worker(**of_a_worker.environ)
        trial.stack.wait_workers(2)
        counts: dict[str, Callable[[], int]] = {
            "the worker": partial(_jobs, wrong.log),
            "the worker's clock": of_a_worker.asked,
            "the gateways' clock": of_gateways.asked,
        }
        for number in range(jumps):
            wrong_s = _HOUR_S if number % 2 else -_HOUR_S
            of_a_worker.set(wrong_s)
            of_gateways.set(-wrong_s)
            before = [count() for count in counts.values()]
            time.sleep(dice.uniform(1.0, 2.0))
            heard.append(trial.stack.heard())
            for (who, count), earlier in zip(counts.items(), before, strict=True):
                try:
                    until(partial(_more, count, earlier), seconds=20)
                except TimeoutError:
                    idle.append(who)
        trial.load.stop()
        verdict = trial.verdict()
    if idle:
        verdict.problems.append(f"of no use after a jump: {', '.join(idle)}")
    if set(heard) != {2}:
        verdict.problems.append(f"of 2 workers there were heard: {heard}")
    verdict.limit("duplicates", 0)
    verdict.limit("max_s", _LONGEST_S)
    return verdict.report(jumps=jumps, asked=of_gateways.asked() + of_a_worker.asked(), by_the_wrong=_jobs(wrong.log))


def _more(count: Callable[[], int], earlier: int) -> bool:
    return count() > earlier


def _jobs(log: Path) -> int:
    return sum(line.get("event") == "job" for line in lines(log))
