"""One program of the stack, in a process group of its own, and what can be done to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from tests.faults.keeper import Keeper
from tests.support.programs import ROOT


class Part(StrEnum):
    """What of a program is hit."""

    GROUP = "group"
    """All its processes at once, as when its container is killed."""
    CHILD = "child"
    """The process that works; for a worker that is Celery's child."""
    MAIN = "main"
    """The process that was started; what it started is left to itself."""


class Member:
    """A program that is started again whenever it ends, as long as `supervised`."""

    def __init__(self, name: str, module: str, environ: Mapping[str, str], folder: Path, keeper: Keeper) -> None:
        self.name = name
        self.module = module
        self.environ = dict(environ)
        """Changes count from the next start on."""
        self.log = folder / f"{name}.log"
        self.supervised = True
        self.starts = 0
        self.died_s: float | None = None
        """When its main process was found dead, on the monotonic clock; None while it lives."""
        self._keeper = keeper
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        self._kin: set[tuple[int, str]] = set()
        """What it was seen to have started, in whatever groups: each an id and when that process began."""

    @property
    def pid(self) -> int:
        """The main process's id, which is its group's too."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the main process ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def start(self) -> None:
        """Start it, in a new group."""
        self._groups = {group for group in self._groups if _lives(group)}
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                process_group=0,
            )
        self._keeper.keep(-self.pid)
        self._groups.add(self.pid)
        self.died_s = None
        self.starts += 1

    def processes(self) -> list[int]:
        """Ids of all living processes of all its groups and of its kin, those of earlier starts too."""
        everybody = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        kin = {pid for pid, began in self._kin if _began(pid) == began}
        return [pid for pid in everybody if pid in kin or _group(pid) in self._groups]

    def orphans(self) -> list[int]:
        """Those of them that an earlier start left behind, or a main process that has died."""
        present = [] if self.died_s is not None else descendants(self.pid)
        return [pid for pid in self.processes() if pid not in present]

    def child(self) -> int | None:
        """A worker's process that works: Celery's child; None when there is none, or it is not ready yet."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        except OSError:
            return None
        return next((pid for pid in map(int, text.split()) if title(pid).startswith("darkroom worker")), None)

    def signal(self, number: int, part: Part = Part.GROUP) -> bool:
        """Send a signal; False where there is nobody to take it."""
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self._remember()
        try:
            if part is Part.GROUP:
                os.killpg(self.pid, number)
            elif part is Part.MAIN:
                os.kill(self.pid, number)
            else:
                child = self.child()
                if child is None:
                    return False
                os.kill(child, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self, part: Part = Part.GROUP) -> bool:
        """SIGKILL; False where there was nobody."""
        return self.signal(signal.SIGKILL, part)

    def terminate(self) -> bool:
        """SIGTERM to the main process, as whoever supervises it sends it; False where there was nobody."""
        return self.signal(signal.SIGTERM, Part.MAIN)

    def freeze(self) -> None:
        """Stop all its processes where they stand."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self.signal(signal.SIGCONT)

    def said(self) -> str:
        """What it wrote so far, over all starts."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def found_dead(self) -> bool:
        """Whether its main process has ended; then also since when."""
        if self._process is None or self._process.poll() is None:
            return False
        if self.died_s is None:
            self.died_s = time.monotonic()
        return True

    def end(self, patience_s: float = 0) -> None:
        """SIGTERM and so much patience, then SIGKILL to all that is left of it."""
        self.supervised = False
        self._remember()
        if self._process is not None and self._process.poll() is None and patience_s > 0:
            self.thaw()
            with suppress(subprocess.TimeoutExpired):
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(patience_s)
        for group in filter(_lives, self._groups):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            self._keeper.forget(-group)
        for pid, began in self._kin:
            if _began(pid) == began:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def _remember(self) -> None:
        self._kin = {(pid, began) for pid, began in self._kin if _began(pid) == began}
        if self._process is not None and self._process.poll() is None:
            self._kin |= {(pid, began) for pid in descendants(self.pid) if (began := _began(pid)) is not None}


def descendants(pid: int) -> list[int]:
    """A process and all that came of it and still have their parents, whatever their groups."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            texts = [(task / "children").read_text(encoding="ascii") for task in tasks]
        except OSError:
            continue
        found += [int(child) for text in texts for child in text.split()]
    return found


def title(pid: int) -> str:
    """What a process calls itself; empty once it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 once it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _lives(group: int) -> bool:
    """Whether the group has processes of ours; an empty one's id may have become a stranger's."""
    try:
        os.killpg(group, 0)
        return os.getsid(group) == os.getsid(0)
    except ProcessLookupError:
        # Its first process has gone, and others have not: the id cannot be given away as long as they live.
        return any(_group(int(entry.name)) == group for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _group(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[2])


def _began(pid: int) -> str | None:
    fields = _stat(pid)
    return None if fields is None else fields[19]


def _stat(pid: int) -> list[str] | None:
    """What the kernel tells of a living process, from its state on. Source: proc(5), /proc/pid/stat, third field on."""
    try:
        # The program's name stands in brackets before it and may hold anything.
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    # A zombie waits for its parent to look, and does nothing more.
    return None if fields[0] == "Z" else fields
