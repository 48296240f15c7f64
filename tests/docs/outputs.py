"""Whether a command printed what its page shows, apart from what no two runs share."""

import re
from collections.abc import Sequence
from typing import Final

_MASKS: Final = (
    # Colours and other orders to a terminal.
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    (re.compile(r"\b(job|req)_[0-9a-f]{32}\b"), r"\1_ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"(_(?:ms|s|bytes)\"?[:=] ?)[\d.]+"), r"\1N"),
    (re.compile(r"\b\d+(\.\d+)?(?= (ms|s|MB)\b)"), "N"),
    # Milliseconds in a table, with their one digit; confidences have more.
    (re.compile(r"(?<![\d.])\d+\.\d(?!\d|\.\d)"), "N"),
    # How wide a table's columns are depends on the figures in them.
    (re.compile(r"[─━]+"), "─"),
    (re.compile(r"[ \t]+"), " "),
)
_ANYTHING: Final = "…"


def difference(shown: str, printed: str) -> str | None:
    """Why `printed` is not what is shown, None where it is.

    Times, sizes, ids and the width of columns are nobody's promise. `…` in what is shown stands for anything within a
    line, and alone on a line for any lines.
    """
    wanted, found = _plain(shown), _plain(printed)
    if _matches(wanted, found):
        return None
    return "\n".join(["the page shows", *_quoted(wanted), "and this was printed", *_quoted(found)])


def _plain(text: str) -> list[str]:
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return [line.strip() for line in text.strip().splitlines()]


def _matches(wanted: Sequence[str], found: Sequence[str]) -> bool:
    if not wanted:
        return not found
    if wanted[0] == _ANYTHING:
        return any(_matches(wanted[1:], found[skipped:]) for skipped in range(len(found) + 1))
    return bool(found) and _line(wanted[0], found[0]) and _matches(wanted[1:], found[1:])


def _line(wanted: str, found: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, wanted.split(_ANYTHING))), found) is not None


def _quoted(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines] or ["    (nothing)"]
