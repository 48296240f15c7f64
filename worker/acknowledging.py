"""A repair of kombu's bookkeeping, without which one broken connection can leave a worker deaf."""

from kombu.transport import redis, virtual


class QoS(redis.QoS):
    """Gives a message's place back even if Redis did not hear that it was acknowledged.

    Kombu tells Redis first and frees the place afterwards, so an error in between keeps the place for ever, and a
    worker with room for one message takes no other. The message itself comes back after the visibility timeout: a
    bell for nothing.
    """

    def ack(self, delivery_tag: str) -> None:
        """See `kombu.transport.virtual.QoS`."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def install() -> None:
    """Make every channel to Redis of this process keep its books so."""
    redis.Channel.QoS = QoS
