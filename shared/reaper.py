"""Looks after jobs that nobody holds: in every gateway and every worker, while the store lets one at a time."""

import asyncio
import threading
from typing import Final

import structlog

from shared.errors import BrokerUnavailable
from shared.store import JobStore, Reaped, WorkStore

EVERY_S: Final = 1.0
"""How often a gateway asks."""

WORKER_EVERY_S: Final = 2.0
"""How often a worker does: there are more of them, and one gateway is enough. So it is the longest pause of all."""

_MOST_ROUNDS: Final = 1000
"""So often at most it asks again at once: then others have their turn."""

_log = structlog.get_logger(__name__)


async def reap_forever(store: JobStore, *, every_s: float = EVERY_S) -> None:
    """Look every `every_s` seconds, for a gateway. A store that is away is asked again the next time."""
    while True:
        try:
            for _ in range(_MOST_ROUNDS):
                if not _told(await store.reap()).more:
                    break
        except BrokerUnavailable as error:
            _log.warning("reap_missed", detail=error.detail)
        except Exception:  # noqa: BLE001 - without this task lost jobs would wait for another process
            _log.exception("reap_broke")
        await asyncio.sleep(every_s)


def reap_until(stopped: threading.Event, store: WorkStore, *, every_s: float = WORKER_EVERY_S) -> None:
    """The same until `stopped` is set, for a thread of a worker."""
    while not stopped.is_set():
        try:
            for _ in range(_MOST_ROUNDS):
                if not _told(store.reap_now()).more or stopped.is_set():
                    break
        except BrokerUnavailable as error:
            _log.warning("reap_missed", detail=error.detail)
        except Exception:  # noqa: BLE001 - without this thread lost jobs would wait for another process
            _log.exception("reap_broke")
        stopped.wait(every_s)


def _told(reaped: Reaped) -> Reaped:
    if reaped.taken_back or reaped.crashed or reaped.canceled:
        _log.warning("workers_lost", taken_back=reaped.taken_back, crashed=reaped.crashed, canceled=reaped.canceled)
    if reaped.expired:
        _log.info("jobs_expired", jobs=reaped.expired)
    return reaped
