"""`Idempotency-Key`: the same request sent again is the same job.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import re
from collections.abc import MutableMapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from gateway.schemas import JobOptions
from shared.errors import BadRequest
from shared.store import Once

_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_DIGEST_BYTES: Final = 16
_REPLAYED: Final = "replayed"


class Idempotency:
    """One request's idempotency key, if it has any, and whether it led to an earlier job."""

    def __init__(self, headers: Sequence[str], state: MutableMapping[str, Any]) -> None:
        """Read the request's `headers` of that name; `state` is the request's own.

        Raises: BadRequest for a key that is none.
        """
        self._key = _read(headers)
        self._state = state

    def once(self, image: bytes, options: JobOptions) -> Once | None:
        """What the store has to know, None without a key."""
        if self._key is None:
            return None
        # The model as it was asked for: which one serves may change between the two requests.
        # Of the two zeros a threshold has only one.
        asked = repr((options.model, options.version, options.confidence_threshold + 0.0)).encode()
        return Once(key=_digest(self._key.encode()), fingerprint=_digest(asked, b"\n", image))

    def replayed(self) -> None:
        """This request led to an earlier job."""
        self._state[_REPLAYED] = True


def was_replayed(state: MutableMapping[str, Any]) -> bool:
    """Whether the request of this state led to an earlier job."""
    return bool(state.get(_REPLAYED))


def _read(headers: Sequence[str]) -> str | None:
    if not headers:
        return None
    text = headers[0].strip()
    quoted = _STRING.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if len(headers) > 1 or not _KEY.fullmatch(key):
        raise BadRequest("An Idempotency-Key is one value of 1 to 255 printable ASCII characters.")
    return key


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
