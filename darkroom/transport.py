"""How a request of ours becomes one of httpx2, and its exceptions ours."""

import math
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final

import httpx2

from darkroom.errors import AnswerTimeout, ConnectionFailed, ConnectionLost, InvalidKey, InvalidSurroundings, InvalidUrl
from darkroom.exchanges import Request
from darkroom.keys import is_key

DEFAULT_URL: Final = "http://127.0.0.1:8000"

MOST_PER_PAGE: Final = 200

_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_IDEMPOTENCY_BYTES: Final = 16

_BROKEN: Final = (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError)
_LATE: Final = (httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.PoolTimeout)


def options(url: str, key: str | None = None) -> dict[str, Any]:
    """What both kinds of client are made with.

    Raises: InvalidUrl, InvalidKey.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        # The cause may repeat a part of a password.
        raise InvalidUrl(url) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidUrl(url)
    if key is not None and not is_key(key):
        raise InvalidKey("This is no key: a key is visible ASCII without spaces, and not empty.")
    return {
        # httpx2 logs the address of every request, so the name and the password go apart from it.
        "base_url": parsed.copy_with(userinfo=b""),
        "auth": (parsed.username, parsed.password) if parsed.userinfo else None,
        # Not as a bearer: a URL with a name and a password, for a proxy in front, has Authorization for itself.
        "headers": {} if key is None else {"X-API-Key": key},
        # A key must not follow a redirect to where it is not known.
        "follow_redirects": False,
        # Whoever bounds what is under way is the caller; one that waits for a connection would use up its timeout.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        # A proxy cannot reach our own loopback, and its variables are seldom set with that in mind.
        "trust_env": not _is_loopback(parsed.host),
    }


@contextmanager
def surroundings() -> Iterator[None]:
    """For making a client of httpx2, which reads the environment's proxies and certificates.

    Raises: InvalidSurroundings.
    """
    try:
        yield
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        # The cause may repeat a proxy's password.
        raise InvalidSurroundings(_complaint(error)) from None


def seconds(timeout: float) -> float:
    """A client's timeout.

    Raises: ValueError when it is not above 0 and finite.
    """
    if not 0 < timeout < math.inf:
        raise ValueError(f"A timeout of {timeout} s is none: it must be above 0, and finite.")
    return timeout


def idempotency_key_or_new(given: str | None) -> str:
    """The caller's name for a request, or a new one that nobody else has.

    Raises: InvalidKey.
    """
    if given is None:
        return secrets.token_hex(_IDEMPOTENCY_BYTES)
    if not _IDEMPOTENCY_KEY.fullmatch(given):
        raise InvalidKey("This is no idempotency key: 1 to 255 printable characters of ASCII, no space at the ends.")
    return given


def place(url: httpx2.URL) -> str:
    """The address as it may be shown: without name and password."""
    return str(url.copy_with(userinfo=b"")).rstrip("/")


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

    Raises: ConnectionLost, AnswerTimeout, ConnectionFailed.
    """
    try:
        yield
    except _BROKEN as error:
        raise ConnectionLost(place(url), "the connection broke") from error
    except _LATE as error:
        raise AnswerTimeout(place(url), "it took too long") from error
    except httpx2.TimeoutException as error:
        raise ConnectionFailed(place(url), "it took too long") from error
    except httpx2.HTTPError as error:
        raise ConnectionFailed(place(url), "it cannot be reached") from error


def page_size(left: int | None) -> int:
    """How many jobs to ask for when so many are still wanted (None: all)."""
    return MOST_PER_PAGE if left is None else min(left, MOST_PER_PAGE)


def _complaint(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "The environment names a SOCKS proxy (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY): it needs the package socksio."
    if isinstance(error, OSError):
        return "The environment's certificates (SSL_CERT_FILE, SSL_CERT_DIR) cannot be read."
    return "The environment's proxy (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) is no address of one."


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
