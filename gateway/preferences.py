"""The `Prefer` header (RFC 7240, section 2): `wait` and `respond-async`. What is not understood is ignored."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SECONDS: Final = re.compile(r"[0-9]+")
_MOST_DIGITS: Final = 9
_EVER_S: Final = 10**9
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a caller prefers; `wait_s` is None where no number of seconds was named."""

    wait_s: int | None = None
    respond_async: bool = False


def parse(headers: Iterable[str]) -> Preferences:
    """The preferences of all `Prefer` headers of a request; of one that comes twice the first counts."""
    found: dict[str, str] = {}
    for header in headers:
        for member in _split(header[:_LONGEST], ","):
            name, _, value = next(_split(member, ";")).partition("=")
            if _TOKEN.fullmatch(name := name.strip().lower()):
                found.setdefault(name, value.strip())
    return Preferences(wait_s=_seconds(found.get("wait", "")), respond_async=found.get("respond-async") in {"", '""'})


def _split(text: str, separator: str) -> Iterator[str]:
    start = place = 0
    while place < len(text):
        quoted = _QUOTED.match(text, place)
        if quoted:
            place = quoted.end()
            continue
        if text[place] == separator:
            yield text[start:place]
            start = place + 1
        place += 1
    yield text[start:]


def _seconds(value: str) -> int | None:
    if _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if not _SECONDS.fullmatch(value):
        return None
    return int(value) if len(value) <= _MOST_DIGITS else _EVER_S
