"""Whether a command printed what its page shows, apart from what is measured and made anew in every run."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RULE: Final = re.compile(r"\s*[─━]+\s*")
_MEASURED_HEADING: Final = re.compile(r"(?<= )(work ms|queue ms|age)(?= |$)")
_MEASURED_CELL: Final = re.compile(r"(?<= )\d+(\.\d+)?( (s|min|h|d))?$")

_MASKS: Final = (
    (re.compile(r"\b(job|req)_[0-9a-f]{32}\b"), r"\1_ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\b((\w+_ms|uptime_s|oldest_age_s|last_heard_s|rss_bytes)\"?[:=] ?)\d+(\.\d+)?"), r"\1N"),
    # What `darkroom` says of the service, of its workers and of one job.
    (re.compile(r"^((?:up|oldest|expected wait|work ms|queue ms) ) +\d+(\.\d+)?", re.MULTILINE), r"\1N"),
    (re.compile(r"\b\d+ MB, heard \d+\.\d s ago"), "N MB, heard N s ago"),
    # Processors differ in how they add up, and so in the digits that follow.
    (re.compile(r"\b(confidence\"?[:=] ?\d\.\d{4})\d+"), r"\1"),
    # How wide a table's columns are depends on the figures in them.
    (re.compile(r"[─━]+"), "─"),
    (re.compile(r"[ \t]+"), " "),
)
_ANYTHING: Final = "…"


def difference(shown: str, printed: str) -> str | None:
    """Why `printed` is not what is shown, None where it is.

    Times, durations, sizes of processes, ids, a confidence's fifth digit and the width of columns are nobody's
    promise. `…` in what is shown stands for anything within a line, and alone on a line for any lines.
    """
    wanted, found = _plain(shown), _plain(printed)
    if _matches(wanted, found):
        return None
    return "\n".join(["the page shows", *_quoted(wanted), "and this was printed", *_quoted(found)])


def _plain(text: str) -> list[str]:
    text = "\n".join(_without_measured_columns(_COLOURS.sub("", text).splitlines()))
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return [line.strip() for line in text.strip().splitlines()]


def _without_measured_columns(lines: Sequence[str]) -> Iterator[str]:
    # A table's figures end where their heading ends.
    ends: list[int] = []
    for line, below in pairwise((*lines, "")):
        if _RULE.fullmatch(below):
            ends = [heading.end() for heading in _MEASURED_HEADING.finditer(line)]
        elif not line.strip():
            ends = []
        row = line
        for end in reversed(ends):
            row = _MEASURED_CELL.sub("N", row[:end]) + row[end:]
        yield row


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
