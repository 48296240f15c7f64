"""Celery's pool of processes, one of which is replaced as soon as it has died."""

from typing import Any, Final

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool

_LOOKS_S: Final = (0.05, 0.5)
"""How long after the end of a process's pipes the pool looks again whether it is dead."""


class _Processes(AsynPool):
    # Pipes end a moment before the kernel says that their process is dead. Celery looks once, most often in between,
    # and again only with its round of every five seconds.
    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        super()._event_process_exit(hub, proc)  # type: ignore[misc] # the stubs leave it out
        for pause_s in _LOOKS_S:
            hub.call_later(pause_s, self.maintain_pool)


class Pool(prefork.TaskPool):
    """See `celery.concurrency.prefork.TaskPool`; for the setting `worker_pool`."""

    Pool = _Processes
