"""Repairs of kombu's bookkeeping, without which a broken line or a full Redis can leave a worker deaf.

What it keeps books of are bells. One that is not written down is lost if its worker dies, and is rung again then.
"""

from contextlib import suppress
from typing import Any

from kombu.transport import redis, virtual

from shared.adapters.connections import FullError


class QoS(redis.QoS):
    """Gives a message's place back even if Redis did not hear that it was acknowledged; takes one that it cannot note.

    Kombu tells Redis first and frees the place afterwards, so an error in between keeps the place for ever, and a
    worker with room for one message takes no other. A full Redis refuses the note, and the work that would make room.
    """

    def ack(self, delivery_tag: str) -> None:
        """See `kombu.transport.virtual.QoS`."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def append(self, message: Any, delivery_tag: str) -> None:
        """See `kombu.transport.virtual.QoS`."""
        try:
            super().append(message, delivery_tag)
        except FullError:
            virtual.QoS.append(self, message, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> Any:
        """See `kombu.transport.redis.QoS`."""
        with suppress(FullError):
            return super().restore_visible(*args, **kwargs)


class Channel(redis.Channel):
    """Keeps its books so, and hears bells though a full Redis does not note to whom they go."""

    QoS = QoS

    def _queue_bind(self, *args: Any) -> None:
        with suppress(FullError):
            super()._queue_bind(*args)  # type: ignore[misc]  # its stubs leave it out


def install() -> None:
    """Make every channel to Redis of this process such a one."""
    redis.Transport.Channel = Channel
