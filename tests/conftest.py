"""What every test may ask for."""

from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.redis_server import RedisServer

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("suite", deadline=None, print_blob=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis for the whole session. Tests that kill theirs start one of their own."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    """The session's Redis, emptied."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server
