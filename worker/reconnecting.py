"""Celery's connection comes back soon after Redis does."""

from typing import Any, Final, Self

from celery import Celery
from kombu import Connection

_PAUSES: Final = {"interval_start": 0.1, "interval_step": 0.1, "interval_max": 1.0}
"""Seconds between two tries. Kombu's own grow by two a time, up to half a minute, and Celery cannot set them."""


class SoonConnection(Connection):
    """Kombu's, but for the pauses between its tries."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        """See `kombu.Connection`."""
        return super().ensure_connection(*args, **{**kwargs, **_PAUSES})


def install(app: Celery) -> None:
    """Make every connection of `app` such a one."""
    app.amqp.Connection = SoonConnection
