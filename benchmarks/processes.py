"""The processes of a system under test: what processor time and memory they have taken, by role."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_MB: Final = 1024 * 1024
_TRIES: Final = 3
_ROLES: Final = {
    "darkroom gateway": "gateway",
    "darkroom worker": "worker",
    "darkroom decoder": "decoder",
    "valkey-server": "redis",
    "redis-server": "redis",
}
"""How titles start, or command lines end their first word."""


class Replaced(Exception):
    """A process ended, or another one came, while it was being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Seconds of processor time so far, by role, and the processes that there were."""

    cpu_s: Mapping[str, float]
    pids: frozenset[int]

    def since(self, before: "Reading") -> dict[str, float]:
        """What was taken between the two, by role.

        Raises: Replaced, since what a process took before it ended cannot be told from what its parent's others did.
        """
        if self.pids != before.pids:
            raise Replaced(f"gone: {sorted(before.pids - self.pids)}, new: {sorted(self.pids - before.pids)}")
        return {role: self.cpu_s[role] - before.cpu_s[role] for role in self.cpu_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Megabytes (2^20 bytes): resident, and with what is shared divided among those who share it."""

    rss_mb: float
    pss_mb: float

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(rss_mb=self.rss_mb + other.rss_mb, pss_mb=self.pss_mb + other.pss_mb)


class Processes:
    """Processes named by their roles, and all below them; those with a title of ours have a role of their own."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots

    def read(self) -> Reading:
        """What they have taken so far, children that have ended included."""
        for _ in range(_TRIES):
            # One may end while it is looked at: then what it took is its parent's, and all must be looked at again.
            with suppress(OSError):
                return self._read()
        return self._read()

    def _read(self) -> Reading:
        spent: dict[str, float] = dict.fromkeys(self._roots, 0.0)
        found = self.found()
        for pid, role in found.items():
            spent[role] = spent.get(role, 0.0) + clock_s(pid) + _ended_children_s(pid)
        # Redis forks to rewrite its append-only file: that child comes and goes, and its time is Redis's.
        lasting = frozenset(pid for pid, role in found.items() if role != "redis" or found.get(_parent(pid)) != "redis")
        return Reading(cpu_s=spent, pids=lasting)

    def memory(self) -> dict[int, tuple[str, Memory]]:
        """Role and memory of each process."""
        return {pid: (role, memory(pid)) for pid, role in self.found().items()}

    def found(self) -> dict[int, str]:
        """The processes and their roles, parents first."""
        found = {pid: role for role, pid in self._roots.items()}
        left = list(found)
        while left:
            parent = left.pop(0)
            for child in children(parent):
                found[child] = _role(child) or found[parent]
                left.append(child)
        return found


def clock_s(pid: int) -> float:
    """A process's own processor time so far, in seconds, of all its threads, exact to the nanosecond."""
    # A process's clock by its number. Source: clock_getcpuclockid(3), in glibc and musl alike.
    return time.clock_gettime((~pid << 3) | 2)


def children(pid: int) -> list[int]:
    """Its children, whichever thread made them."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
        except FileNotFoundError:
            continue
    return sorted(found)


def memory(pid: int) -> Memory:
    """What a process has resident now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(rss_mb=sizes["Rss"] / _MB, pss_mb=sizes["Pss"] / _MB)


def _ended_children_s(pid: int) -> float:
    user, system = _stat(pid)[13:15]
    return (int(user) + int(system)) * _TICK_S


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    # From the state on: the name before it may hold anything. Source: proc_pid_stat(5).
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _role(pid: int) -> str | None:
    title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    first = title.partition(" ")[0].rpartition("/")[2]
    return next((role for words, role in _ROLES.items() if title.startswith(words) or first == words), None)
