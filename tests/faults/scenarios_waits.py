"""Clients that leave while they wait."""

import socket
import struct
import time
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.faults import calls
from tests.faults.members import resident_bytes
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.verdict import Verdict
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

_FREED_S: Final = 5.0
_SILENCE_S: Final = 3.0
"""Longer than the time between two sweeps."""
_FOREVER_S: Final = 20.0
_SPARE: Final = 40
"""The gateway's own lines to Redis, of which it may have more than at first."""
_RESET: Final = struct.pack("ii", 1, 0)


@scenario("F28", "clients gone while they wait")
def clients_gone(run: Run) -> Report:
    """Half close, half reset their lines. The gateway has its descriptors back at once, and the job goes on."""
    number = 300 if run.short else 1000
    rounds = 2 if run.short else 5
    verdict = Verdict()
    freed: list[float] = []
    forgotten: list[float] = []
    with Stack(run.folder, gateways=1, workers=0) as stack:
        url, (gateway,) = stack.urls[0], stack.gateways
        job_id = calls.submit(url)
        before = _descriptors(gateway.pid)
        for _ in range(rounds):
            lines = [_waiting_line(url, job_id) for _ in range(number)]
            until(lambda: _descriptors(gateway.pid) >= before + number, seconds=20, what="all lines to be taken")
            looks = _looks(stack.redis)
            until(partial(_looked_more, stack.redis, looks), seconds=20, what="a sweep that looks for those who wait")
            start = time.monotonic()
            for turn, line in enumerate(lines):
                if turn % 2:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                line.close()
            until(lambda: _descriptors(gateway.pid) <= before + _SPARE, seconds=60, what="the descriptors to come back")
            freed.append(time.monotonic() - start)
            forgotten.append(_silent_after(stack.redis, before_s=start))
        memory = resident_bytes(gateway.pid)
        stack.start_worker()
        until(lambda: calls.status_of(url, job_id) == "succeeded", seconds=40, what="the job to be done all the same")
        # One that still waited would hold it up until its time is over.
        gateway.supervised = False
        start = time.monotonic()
        gateway.terminate()
        until(lambda: gateway.exit_code is not None, seconds=60, what="the gateway to stop")
        verdict.figures.update(
            gone=number * rounds,
            freed_max_s=round(max(freed), 2),
            forgotten_max_s=round(max(forgotten), 2),
            gateway_mb=round(memory / 1e6),
            stopped_s=round(time.monotonic() - start, 2),
        )
    verdict.limit("freed_max_s", _FREED_S)
    verdict.limit("forgotten_max_s", _FREED_S)
    return verdict.report()


def _looks(server: RedisServer) -> int:
    """How often a field of a job was looked at: with no job in hand that is what sweeps do, for jobs waited for."""
    with server.client() as client:
        told: Any = client.info("commandstats")
    return int(told.get("cmdstat_hget", {}).get("calls", 0))


def _looked_more(server: RedisServer, looks: int) -> bool:
    return _looks(server) > looks


def _silent_after(server: RedisServer, *, before_s: float) -> float:
    """After how many seconds since `before_s` the last look came that nobody waits for any more."""
    looks, last = _looks(server), time.monotonic()
    while time.monotonic() - last < _SILENCE_S and last - before_s < _FOREVER_S:
        time.sleep(0.1)
        if (now := _looks(server)) > looks:
            looks, last = now, time.monotonic()
    return last - before_s


def _waiting_line(url: str, job_id: str) -> socket.socket:
    host = urlsplit(url)
    line = socket.create_connection((host.hostname, host.port), timeout=10)
    line.sendall(f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
    return line


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
