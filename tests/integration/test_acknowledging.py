"""One broken connection must not leave a worker deaf."""

from typing import Any, NoReturn

import pytest
from kombu import Connection, Queue
from kombu.transport import redis as transport

from tests.support.redis_server import RedisServer
from worker import acknowledging


@pytest.mark.parametrize("repaired", [False, True])
def test_a_message_whose_acknowledgement_failed_keeps_no_place(
    empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, repaired: bool
) -> None:
    monkeypatch.setattr(transport.Transport, "Channel", transport.Channel)
    if repaired:
        acknowledging.install()

    def broken(*_: Any) -> NoReturn:
        raise ConnectionError("the line broke")

    with Connection(empty_redis.url) as connection:
        channel: Any = connection.channel()
        queue = Queue("bells", channel=channel)
        queue.declare()
        connection.Producer(channel).publish("ding", routing_key="bells")
        channel.basic_qos(0, 1, False)
        message = queue.get()
        assert message is not None
        full = not channel.qos.can_consume()
        monkeypatch.setattr(channel.qos, "_remove_from_indices", broken)

        with pytest.raises(ConnectionError):
            channel.qos.ack(message.delivery_tag)

        assert full
        # Without the repair the place stays taken: should kombu mend this itself, the repair can go.
        assert channel.qos.can_consume() is repaired
        monkeypatch.undo()
