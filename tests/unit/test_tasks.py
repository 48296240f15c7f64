"""The Celery task that answers bells."""

from functools import partial
from typing import NoReturn

from celery import Celery
from structlog.testing import capture_logs

from shared.adapters.bell import DRAIN
from shared.errors import BrokerUnavailable
from worker.app import broker_url
from worker.tasks import register


def an_app() -> Celery:
    return Celery("darkroom", broker="memory://", set_as_current=False)


def test_a_store_that_stays_away_ends_the_task_in_order_so_that_its_bell_is_acknowledged() -> None:
    def away() -> NoReturn:
        raise BrokerUnavailable("The job store does not answer just now.")

    app = an_app()
    register(app, away)

    with capture_logs() as said:
        app.tasks[DRAIN]()

    assert [line["event"] for line in said] == ["drain stopped"]


def test_a_drain_that_runs_out_of_memory_ends_its_task_in_order_and_not_its_worker() -> None:
    def exhausted() -> NoReturn:
        raise MemoryError

    app = an_app()
    register(app, exhausted)

    with capture_logs() as said:
        app.tasks[DRAIN]()

    assert [line["event"] for line in said] == ["drain broke"]


def test_two_apps_in_one_process_have_a_task_each() -> None:
    heard: list[str] = []

    def hear(name: str) -> int:
        heard.append(name)
        return 0

    first, second = an_app(), an_app()

    register(first, partial(hear, "first"))
    register(second, partial(hear, "second"))
    second.tasks[DRAIN]()
    first.tasks[DRAIN]()

    assert heard == ["second", "first"]


def test_celery_is_sent_to_the_same_server_and_database() -> None:
    assert broker_url("redis://:s3cret@redis:6380/3") == "redis://:s3cret@redis:6380/3"
    assert broker_url("unix:///run/redis.sock?db=2") == "redis+socket:///run/redis.sock?virtual_host=2"
