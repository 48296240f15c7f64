"""The bell: a Celery message without arguments that wakes a worker to look into the queue.

Celery and kombu make it, by sending the task over kombu's transport in memory; what they made is the template.
"""

import uuid
from typing import Any, Final

from celery import Celery
from kombu import Queue
from kombu.utils.json import dumps

from shared.adapters import keys

DRAIN: Final = "darkroom.drain"
"""The name of the Celery task that answers a bell."""

_ID: Final = "00000000-0000-0000-0000-000000000000"


def routing() -> dict[str, object]:
    """Celery settings that sender and receiver of bells share: one queue, JSON, no results."""
    return {
        "task_queues": [Queue(keys.BELL, routing_key=keys.BELL)],
        "task_default_queue": keys.BELL,
        "task_default_routing_key": keys.BELL,
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
    }


class Bell:
    """Makes bells: the bytes that `send_task` would push, each with an id and a delivery tag of its own."""

    def __init__(self) -> None:
        app = Celery("darkroom", broker="memory://", set_as_current=False)
        app.conf.update(routing())
        with app.connection_for_write() as connection:
            channel: Any = connection.default_channel
            app.send_task(DRAIN, task_id=_ID, ignore_result=True, connection=connection)
            message = channel._get(keys.BELL)  # noqa: SLF001 - the only way to the message as it would be pushed
        message["properties"]["delivery_tag"] = _ID
        self._template = dumps(message).encode()

    def __call__(self) -> bytes:
        """One bell, about 1 kB."""
        return self._template.replace(_ID.encode(), str(uuid.uuid4()).encode())
