"""The product's programs, started as a user's machine would start them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx2

from tests.support.redis_server import free_port
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def environment(redis_url: str, **changes: str) -> dict[str, str]:
    """This process's environment without settings of ours, and with these."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return {**theirs, "DARKROOM_REDIS_URL": redis_url, **changes}


class Program:
    """`python -m <module>`, with its errors kept in a file."""

    def __init__(self, module: str, log: Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env=env,
                stderr=sink,
                stdout=sink,
            )

    @property
    def pid(self) -> int:
        """The main process's id."""
        return self.process.pid

    def children(self) -> list[int]:
        """Ids of its child processes."""
        tasks = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in tasks.read_text(encoding="ascii").split()]

    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(encoding="utf-8")

    def stop(self, seconds: float = 30) -> int:
        """Ask it to end, and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


P = TypeVar("P", bound=Program)


@contextmanager
def running(program: P) -> Iterator[P]:
    """The program, stopped afterwards whatever happened."""
    try:
        yield program
    finally:
        try:
            program.stop()
        except subprocess.TimeoutExpired:
            program.kill()


def a_worker(redis_url: str, log: Path, **changes: str) -> Program:
    """A worker of one process that beats often."""
    return Program("worker", log, environment(redis_url, **{"DARKROOM_WORKER_BEAT_S": "0.2", **changes}))


class Gateway(Program):
    """A gateway on a free port of the loopback."""

    def __init__(self, redis_url: str, log: Path, **changes: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("gateway", log, environment(redis_url, DARKROOM_GATEWAY_PORT=str(port), **changes))
        until(lambda: self._answers("/health/live"), seconds=20, what=f"the gateway to live: {self.said()}")

    def ready(self) -> bool:
        """Whether it would take jobs and have them done."""
        return self._answers("/health/ready")

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            return httpx2.get(f"{self.url}{path}", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False
