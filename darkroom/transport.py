"""How a request of ours becomes one of httpx2, and its exceptions ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final

import httpx2

from darkroom.errors import ConnectionFailed, ConnectionLost, InvalidUrl
from darkroom.exchanges import Request

DEFAULT_URL: Final = "http://127.0.0.1:8000"

MOST_PER_PAGE: Final = 200

_BROKEN: Final = (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError)


def options(url: str) -> dict[str, Any]:
    """What both kinds of client are made with.

    Raises: InvalidUrl.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise InvalidUrl(url) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidUrl(url)
    # A proxy cannot reach our own loopback, and its variables are seldom set with that in mind.
    return {"base_url": parsed, "trust_env": not _is_loopback(parsed.host)}


def arguments(request: Request, timeout_s: float) -> dict[str, Any]:
    """The request for httpx2; an answer that is held back on purpose is given so much longer."""
    return {
        "method": request.method,
        "url": request.path,
        "params": request.params,
        "headers": request.headers,
        "content": request.content,
        "timeout": httpx2.Timeout(timeout_s, read=timeout_s + request.wait_s),
    }


@contextmanager
def translated(url: httpx2.URL) -> Iterator[None]:
    """httpx2's exceptions as ours.

    Raises: ConnectionLost, ConnectionFailed.
    """
    place = str(url).rstrip("/")
    try:
        yield
    except _BROKEN as error:
        raise ConnectionLost(place, "the connection broke") from error
    except httpx2.TimeoutException as error:
        raise ConnectionFailed(place, "it took too long") from error
    except httpx2.HTTPError as error:
        raise ConnectionFailed(place, "it cannot be reached") from error


def page_size(left: int | None) -> int:
    """How many jobs to ask for when so many are still wanted (None: all)."""
    return MOST_PER_PAGE if left is None else min(left, MOST_PER_PAGE)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
