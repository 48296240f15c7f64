"""The first key: what it is, and the refusal of whoever has it not."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Self

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import errors, headers
from gateway.config import GatewaySettings
from shared.errors import Unauthorized
from shared.settings import InvalidVariable, read_secret, variable

OPEN: Final = frozenset({"/health/live", "/health/ready"})
"""Paths that need no key: whoever looks after the process has none."""

_VISIBLE: Final = re.compile(r"[!-~]+")
_BEARER: Final = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Key:
    """A key, of which only the SHA-256 is kept: it cannot be shown, and comparing tells nothing of its length."""

    digest: bytes

    @classmethod
    def of(cls, text: str) -> Self:
        """The key that callers send as `text`.

        Raises: ValueError for what a header cannot carry.
        """
        if not _VISIBLE.fullmatch(text):
            raise ValueError("a key is visible ASCII without spaces, and not empty")
        return cls(_digest(text))

    def opens(self, text: str) -> bool:
        """Whether `text` is this key, in constant time."""
        return hmac.compare_digest(_digest(text), self.digest)


def first_key(settings: GatewaySettings) -> Key | None:
    """The key that the environment names, None if it names none.

    Raises: InvalidVariable with a sentence that does not repeat it.
    """
    plain, file = (variable(GatewaySettings, name) for name in ("api_key", "api_key_file"))
    if settings.api_key is not None and settings.api_key_file is not None:
        raise InvalidVariable(f"set {plain} or {file}, not both")
    try:
        if settings.api_key is not None:
            return Key.of(settings.api_key.get_secret_value())
        return None if settings.api_key_file is None else Key.of(read_secret(settings.api_key_file))
    except ValueError as error:
        raise InvalidVariable(f"{file if settings.api_key is None else plain}: {error}") from None


class KeyOnly:
    """Refuses every call without the key, but those of `OPEN`. Plain ASGI."""

    def __init__(self, app: ASGIApp, key: Key) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            given = _given(scope)
            if given is None or not self._key.opens(given):
                error = Unauthorized(
                    "This call needs a key: send it as X-API-Key or as Authorization: Bearer."
                    if given is None
                    else "This is not a key of this service."
                )
                answer = errors.told(scope, error)
                answer.headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
                # A body that nobody reads would be taken to its end before the next request on this line.
                answer.headers["Connection"] = "close"
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _given(scope: Scope) -> str | None:
    # Blanks around a header's value are none of it (RFC 9110, section 5.5), and servers differ in who takes them away.
    for key in headers.values(scope, b"x-api-key"):
        return key.strip(" \t")
    bearer = _BEARER.fullmatch(headers.first(scope, b"authorization").strip(" \t"))
    return bearer and bearer[1]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
