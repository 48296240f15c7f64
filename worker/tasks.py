"""The Celery task: hear the bell, drain the queue, nothing else."""

from collections.abc import Callable

import structlog
from celery import Celery

from shared.adapters.bell import DRAIN
from shared.errors import TransientError

log = structlog.get_logger()


def register(app: Celery, drain: Callable[[], int]) -> None:
    """Make `app` answer bells with `drain`."""

    # Not shared: a shared task is one function for all apps of a process, the first one's.
    @app.task(name=DRAIN, shared=False, ignore_result=True, acks_late=True)
    def _drain() -> None:
        try:
            drain()
        except TransientError as error:
            # The bell is acknowledged all the same: once the store is back, the next sign of life rings.
            log.warning("drain stopped", error=error.code)
        except Exception:
            # Celery would end all its processes over a MemoryError. The lease of the job at hand ends by itself.
            log.exception("drain broke")
