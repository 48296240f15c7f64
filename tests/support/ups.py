"""`darkroom up` as a program, with the real parts or with stand-ins that are up at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import ROOT
from tests.support.waiting import until

STAND_INS = """
import os, sys
from pathlib import Path
from darkroom.up import Stack, up
gateway, worker, data, gateways, workers = sys.argv[1:]
stack = Stack(
    port=0,
    data=Path(data),
    gateways=int(gateways),
    workers=int(workers) if workers else None,
    gateway_command=(sys.executable, gateway),
    worker_command=(sys.executable, "-S", "-c", worker),
)
sys.exit(up(stack, os.environ))
"""
GATEWAY = str(ROOT / "tests" / "support" / "stand_in_gateway.py")
STAY = "import signal; signal.pause()"


class Up:
    """A running `darkroom up`, all it says and all that descends from it."""

    def __init__(self, folder: Path, *command: str, **environ: str) -> None:
        self.data = folder / "data"
        self.out, self.err = folder / "out", folder / "err"
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env={**theirs, **environ}, stdout=out, stderr=err
            )

    @property
    def url(self) -> str:
        """Where it serves, once it is ready."""
        until(lambda: self.out.read_text().endswith("\n") or self.process.poll() is not None, seconds=60)
        first, url = self.out.read_text().split()
        assert first == "ready", self.err.read_text()
        return url

    def descendants(self, *words: str) -> list[int]:
        """Ids of the living processes under it whose command line or title has all of these words."""
        found, left = [], [self.process.pid]
        while left:
            below = children_of(left.pop())
            found += below
            left += below
        titles = {pid: title_of(pid) for pid in found}
        # Between fork and exec a child still has the title of `up` itself.
        own = title_of(self.process.pid)
        return [pid for pid in found if titles[pid] != own and all(word in titles[pid] for word in words)]

    def stop(self, number: int = signal.SIGINT) -> int:
        """Its exit status after this signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def ended(up: Up) -> Iterator[Up]:
    """The same, killed in the end if it still runs."""
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()


@contextmanager
def stand_ins(
    folder: Path,
    *,
    gateway: str = GATEWAY,
    worker: str = STAY,
    gateways: int = 1,
    workers: int | None = 1,
    data: Path | None = None,
    **environ: str,
) -> Iterator[Up]:
    """`up` with a program's file for a gateway, a program's text for a worker, and a real Redis."""
    folder.mkdir(exist_ok=True)
    counts = (str(gateways), str(workers or ""))
    with ended(Up(folder, "-c", STAND_INS, gateway, worker, str(data or folder / "data"), *counts, **environ)) as up:
        yield up


@contextmanager
def the_real_ones(folder: Path, *options: str, **environ: str) -> Iterator[Up]:
    """`darkroom up` as a user types it, on a free port."""
    folder.mkdir(exist_ok=True)
    command = ("-m", "darkroom", "up", "--port", "0", "--data", str(folder / "data"), *options)
    with ended(Up(folder, *command, **environ)) as up:
        yield up
