"""What Redis itself says of a run: which jobs it told of as ended, and what it holds when all is over."""

import json
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis

from shared.adapters import keys
from shared.adapters.records import load_ending
from tests.support.redis_server import RedisServer

ENDINGS: Final = "endings.jsonl"
"""A line for each id that was published as ended: `id`, `at_s`."""

LEFTOVERS: Final = "leftovers.json"
"""`ids`: the jobs that Redis knows when all is over; `held`: keys that should be gone by then, with their sizes."""

_PASSING: Final = (keys.QUEUE, keys.PAUSING, keys.WAITING, keys.DEADLINES, keys.LEASES)
"""Indexes of jobs that have not ended; with all ended they are empty, and so are not there."""


class Watch:
    """Writes down every ending that is published while it is entered. Some are missed while Redis is away."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self._path = folder / ENDINGS
        self._server = server
        self._quit = threading.Event()
        self._fresh: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quit.set()
        self._thread.join(10)

    def next_ending(self, seconds: float) -> str | None:
        """The id of the next job that ends from now on; None if none does in time."""
        with suppress(queue.Empty):
            while True:
                self._fresh.get_nowait()
        with suppress(queue.Empty):
            return self._fresh.get(timeout=seconds)
        return None

    def _listen(self) -> None:
        with self._path.open("a", encoding="utf-8", buffering=1) as file:
            while not self._quit.is_set():
                with suppress(redis.exceptions.RedisError), self._server.client() as client, client.pubsub() as line:
                    line.subscribe(keys.ENDED)
                    while not self._quit.is_set():
                        message = line.get_message(timeout=0.2)
                        if message is None:
                            continue
                        if message["type"] != "message":
                            self._listening.set()
                            continue
                        job_id = load_ending(message["data"]).job_id
                        self._fresh.put(job_id)
                        file.write(f"{json.dumps({'id': job_id, 'at_s': time.time()})}\n")
                self._quit.wait(0.05)


def note_leftovers(folder: Path, server: RedisServer) -> dict[str, int]:
    """Write down what is in Redis; call it when every job has ended.

    Returns: keys that should be gone by then, with their sizes.
    """
    with server.client() as client:
        ids = {key.decode().removeprefix(keys.JOB) for key in client.scan_iter(f"{keys.JOB}*", count=1000)}
        held = {name: size for name in _PASSING if (size := int(client.zcard(name)))}
        for key in client.scan_iter(f"{keys.PICTURE}*", count=1000):
            name = key.decode()
            # The picture of a job that was never accepted goes by itself, after a while.
            if name.removeprefix(keys.PICTURE) in ids or not 0 <= client.pttl(name) <= keys.UNADMITTED_MS:
                held[name] = int(client.strlen(name))
    (folder / LEFTOVERS).write_text(json.dumps({"ids": sorted(ids), "held": held}), encoding="utf-8")
    return held
