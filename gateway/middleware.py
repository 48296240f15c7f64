"""What every request passes: its id, its line in the log, and the refusal of strangers. Plain ASGI."""

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import errors, headers
from gateway.config import is_loopback
from gateway.idempotency import was_replayed
from shared.errors import Forbidden, InternalError

_FOREIGN: Final = frozenset("@/?#\\")
"""What no host and port have, and a name before the real one could hide behind."""

_QUIET: Final = frozenset({"/health/live", "/health/ready"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})

_NO_GUESSING: Final = (b"x-content-type-options", b"nosniff")
_NOT_KEPT: Final = (b"cache-control", b"no-store")
_REPLAYED: Final = (b"idempotency-replayed", b"true")

_LONGEST_KEPT: Final = 255
"""A host that is longer than any name is not remembered: what is remembered must not grow with what callers send."""

_log = structlog.get_logger(__name__)


class RequestLine:
    """Gives a request its id, answers HEAD as GET without a body, turns what nobody caught into a problem, logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{os.urandom(16).hex()}"
        asked = scope["method"]
        # The request's own: a server may share the one it gave between all requests.
        state = {**scope.get("state", {}), "request_id": request_id}
        scope["state"] = state
        inner = {**scope, "method": "GET"} if asked == "HEAD" else scope
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = _told(message.get("headers", ()), request_id, replayed=was_replayed(state))
            elif asked == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        started = time.perf_counter()
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(inner, receive, answer)
        except Exception:
            _log.exception("request_broke", method=asked, route=_route(inner))
            if status:
                # The head is out: only a broken connection can still tell the caller.
                raise
            problem = errors.told(scope, InternalError("Something broke on our side; the log knows this request."))
            await problem(scope, receive, answer)
        finally:
            spent = round((time.perf_counter() - started) * 1000, 2)
            route = _route(inner)
            # Every few seconds something asks how we are; that all is well wants no line each time.
            tell = _log.debug if route in _QUIET and status == HTTPStatus.OK else _log.info
            tell("request", method=asked, route=route, status=status, ms=spent)
            structlog.contextvars.reset_contextvars(**bound)


def _told(given: Sequence[tuple[bytes, bytes]], request_id: str, *, replayed: bool) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, and those of every answer; a copy, since the given ones may be used again."""
    told = [*given, (b"x-request-id", request_id.encode()), _NO_GUESSING]
    if all(name != b"cache-control" for name, _ in given):
        told.append(_NOT_KEPT)
    # Of every answer, an error's too: it is the earlier job's.
    if replayed:
        told.append(_REPLAYED)
    return told


def _route(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)


class LoopbackOnly:
    """Refuses what a browser was made to send from elsewhere: while there is no key, whoever reaches us may act.

    A foreign page can reach a server on loopback, by rebinding its name to it or by plain cross-site requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "http" and not _is_own(scope):
            error = Forbidden("Without a key only this machine may ask, and no page of another site.")
            await errors.told(scope, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_own(scope: Scope) -> bool:
    hosts = headers.values(scope, b"host")
    return (
        all(map(_is_here, hosts))
        and all(_authority(origin) in {host.lower() for host in hosts} for origin in headers.values(scope, b"origin"))
        and all(site.lower() in _OWN_SITES for site in headers.values(scope, b"sec-fetch-site"))
    )


def _is_here(authority: str) -> bool:
    return _known(authority) if len(authority) <= _LONGEST_KEPT else is_loopback(_name(authority))


@lru_cache(maxsize=64)
def _known(authority: str) -> bool:
    return is_loopback(_name(authority))


def _name(authority: str) -> str:
    if _FOREIGN & set(authority):
        return ""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _authority(origin: str) -> str:
    scheme, _, authority = origin.lower().partition("://")
    return authority if scheme in {"http", "https"} else ""
