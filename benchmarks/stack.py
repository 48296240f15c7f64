"""The real system, as `darkroom up` starts it: gateway, workers with their decoders, its own Redis with its file."""

import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from benchmarks.processes import Processes
from benchmarks.surroundings import ROOT, plain
from worker.config import WorkerSettings

_START_S: Final = 60.0
_STOP_S: Final = 60.0


class NotReady(Exception):
    """It did not start; the message is what it said."""


class Stack:
    """A running `darkroom up`."""

    def __init__(self, folder: Path, *, workers: int, **environ: str) -> None:
        started = time.monotonic()
        self._data = folder / "data"
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "darkroom", "up", "--port", "0"),
                    *("--workers", str(workers), "--data", str(self._data)),
                ],
                cwd=ROOT,
                env=plain(**environ),
                stdout=subprocess.PIPE,
                stderr=said,
            )
        assert self._process.stdout is not None
        heard, _, _ = select.select([self._process.stdout], [], [], _START_S)
        words = self._process.stdout.readline().decode().split() if heard else []
        if not words:
            self.stop()
            raise NotReady(self._said.read_text(encoding="utf-8"))
        self.url = words[1]
        self.predict = f"{self.url}/predict"
        self.start_s = time.monotonic() - started
        """Seconds from its start until it said that it is ready."""
        self.processes = Processes({"supervisor": self._process.pid})

    def redis(self) -> redis.Redis:
        """A client of its Redis."""
        return redis.Redis(unix_socket_path=str(self._data / "redis.sock"))

    def stop(self) -> None:
        """End it in good order, or by force when that takes too long."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running(*, workers: int = 2, mode: str = "fast", append_only: bool = True, **environ: str) -> Iterator[Stack]:
    """The stack, in a folder that goes with it. `mode` is how workers preprocess."""
    if "preprocessing" in WorkerSettings.model_fields:
        environ["DARKROOM_WORKER_PREPROCESSING"] = mode
    if not append_only:
        environ["DARKROOM_GATEWAY_THROWAWAY_REDIS"] = "true"
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
        stack = Stack(Path(folder), workers=workers, **environ)
        try:
            if not append_only:
                with stack.redis() as client:
                    client.config_set("appendonly", "no")
            yield stack
        finally:
            stack.stop()
