"""The bell is what Celery would have pushed, and Celery hears it."""

import json
from typing import Any

from celery import Celery

from shared.adapters import keys
from shared.adapters.bell import DRAIN, Bell, routing
from tests.support.redis_server import RedisServer

_OWN = {
    ("headers", "id"),
    ("headers", "root_id"),
    ("headers", "origin"),
    ("properties", "correlation_id"),
    ("properties", "delivery_tag"),
    ("properties", "reply_to"),
}
"""Fields that name one message or its sender, and so differ between any two."""


def _flat(message: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    fields: dict[tuple[str, ...], Any] = {}
    for name, value in message.items():
        if isinstance(value, dict):
            fields |= {(name, inner): inner_value for inner, inner_value in value.items()}
        else:
            fields[(name,)] = value
    return fields


def test_the_bell_equals_what_send_task_pushes_field_by_field(empty_redis: RedisServer) -> None:
    app = Celery("elsewhere", broker=empty_redis.url, set_as_current=False)
    app.conf.update(routing())
    with app.connection_for_write() as connection:
        app.send_task(DRAIN, ignore_result=True, connection=connection)
    with empty_redis.client() as client:
        (pushed,) = client.lrange(keys.BELL, 0, -1)

    sent, rung = _flat(json.loads(pushed)), _flat(json.loads(Bell()()))

    assert sent.keys() == rung.keys()
    assert {name: rung[name] for name in rung if name not in _OWN} == {
        name: sent[name] for name in sent if name not in _OWN
    }
    assert all(isinstance(rung[name], type(sent[name])) for name in _OWN)


def test_every_bell_has_an_id_and_a_delivery_tag_of_its_own() -> None:
    bell = Bell()

    rung = [_flat(json.loads(bell())) for _ in range(100)]

    for name in (("headers", "id"), ("properties", "delivery_tag")):
        assert len({message[name] for message in rung}) == 100
    assert all(message[("headers", "id")] == message[("properties", "correlation_id")] for message in rung)
