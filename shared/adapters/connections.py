"""Connections to Redis that fail soon instead of hanging, and the translation of its errors into ours."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from shared.adapters.line import Line, messages
from shared.errors import BrokerUnavailable, StorageFull

FullError = OutOfMemoryError
"""What a full Redis says to a command that needs memory, for the one other place that speaks to it."""

OLDEST: Final = (6, 2)
"""The oldest server that Celery's transport and our scripts run on."""

TIMEOUT_S: Final = 1.0
"""How long a gateway waits for an answer, and half of it for a connection, in seconds."""

PROMPT_S: Final = 1.7
"""How long a whole call of a gateway may take."""

QUIET_S: Final = 3.0
"""A line that has told of no end for so long is asked whether it lives, and has as long to answer."""

WORKER_TIMEOUT_S: Final = 3.0
"""How long a worker waits for an answer: longer than it ever lingers."""


class ServerTooOld(Exception):
    """The server is older than `OLDEST`."""


@contextmanager
def translated() -> Iterator[None]:
    """Redis's exceptions as ours.

    Raises: StorageFull when it has no memory left, BrokerUnavailable for everything else.
    """
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageFull("There is no room for another job just now.", retry_after_s=5) from error
    except (AuthenticationError, NoPermissionError) as error:
        raise BrokerUnavailable("The job store refuses our user, our password or our rights.") from error
    except (RedisError, OSError) as error:
        raise BrokerUnavailable("The job store does not answer just now.") from error


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """The same, and no longer than `PROMPT_S` altogether: a client may connect twice and wait each time.

    Raises: StorageFull, BrokerUnavailable.
    """
    with translated():
        async with asyncio.timeout(PROMPT_S):
            yield


def for_gateway(url: str, *, connections: int) -> redis.asyncio.Redis:
    """An asynchronous client of at most `connections` connections; a call waits for a free one instead of failing.

    A connection that broke while it lay idle is replaced once, without the caller noticing. An answer that does not
    come in time is not asked for again.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=TIMEOUT_S / 2,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S / 2,
        retry=AsyncRetry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        health_check_interval=0,
        client_name=f"darkroom-gateway-{os.getpid()}",
    )
    return redis.asyncio.Redis.from_pool(pool)


def calling_line(url: str) -> Line:
    """A connection for what every request of a gateway asks, as prompt and as ready to be replaced as the pool's."""
    return Line(url, name=f"darkroom-gateway-{os.getpid()}", timeout_s=TIMEOUT_S, connect_s=TIMEOUT_S / 2)


def news_line(url: str, channel: str) -> AsyncGenerator[bytes]:
    """What is published on a channel, over a connection of a gateway's that breaks at once rather than mend itself."""
    return messages(url, channel, name=f"darkroom-gateway-{os.getpid()}", connect_s=TIMEOUT_S, quiet_s=QUIET_S)


def for_worker(url: str) -> redis.Redis:
    """A client that says at once when the line breaks: whoever asked knows whether and how to ask again."""
    return redis.Redis.from_url(
        url,
        socket_timeout=WORKER_TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name=f"darkroom-worker-{os.getpid()}",
    )


def refuse_old_server(url: str) -> None:
    """Ask the server's version, if it answers at all.

    Raises: ServerTooOld with a sentence that names both versions.
    """
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        version = str(client.info("server")["redis_version"])
    except (RedisError, OSError):
        return
    finally:
        client.close()
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        oldest = ".".join(str(part) for part in OLDEST)
        raise ServerTooOld(f"The Redis at hand is {version}; Darkroom needs {oldest} or newer.")
