"""A worker's Celery looks for Redis often while it is away."""

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from tests.support.redis_server import free_port
from worker import reconnecting


def test_the_pauses_between_two_tries_never_grow_long() -> None:
    app = Celery("darkroom", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    reconnecting.install(app)
    pauses: list[float] = []

    with app.connection_for_read() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(lambda _, pause: pauses.append(pause), 3)

    assert pauses == pytest.approx([0.1, 0.2, 0.3])
