"""What requests cost a system: processor time by role, and beside it what their callers saw."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.load import Load
from benchmarks.processes import Processes

CORES: Final = os.cpu_count() or 1

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_IDLE: Final = slice(3, 5)
_GUESTS: Final = 8


def cost(processes: Processes, send: Callable[[], Load]) -> dict[str, float]:
    """The figures of one measurement, each for one request.

    `cpu_s` is the processor time of all the system's processes, `<role>_s` that of one role; `callers_s`, which counts
    for nothing, that of the program that asked. `others` is how many cores were busy with what has nothing to do with
    it, `rate` the requests per second.

    Raises: WrongAnswer, Replaced.
    """
    busy_s, start, before = machine_busy_s(), time.monotonic(), processes.read()
    load = send()
    spent = processes.read().since(before)
    seconds, busy_s = time.monotonic() - start, machine_busy_s() - busy_s
    total_s = sum(spent.values())
    return {
        "cpu_s": total_s / load.requests,
        **{f"{role}_s": taken / load.requests for role, taken in spent.items()},
        "requests": load.requests,
        "rate": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "callers_s": load.cpu_s / load.requests,
        "others": max(min(busy_s, CORES * seconds) - total_s - load.cpu_s, 0) / seconds,
    }


def machine_busy_s() -> float:
    """Seconds that all cores together have been busy, or were kept from us by the machine's host."""
    first, _, _ = Path("/proc/stat").read_text(encoding="ascii").partition("\n")
    ticks = [int(word) for word in first.split()[1:]]
    # A guest's time is in its host process's already. Source: proc_stat(5).
    return (sum(ticks[:_GUESTS]) - sum(ticks[_IDLE])) * _TICK_S
