"""Logs: one event and its keys a line, JSON unless a person is watching."""

import contextlib
import json
import logging
import sys
from typing import Any

import structlog


class _Stderr:
    """Standard error, without its troubles: a log that cannot be written must not end a job or a request."""

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


_encode = json.JSONEncoder(default=repr).encode
"""Made once: `json.dumps` with a fallback makes an encoder for every line, at a third of the price of encoding it."""


def _as_json(event: dict[str, Any], **_: object) -> str:
    return _encode(event)


def configure() -> None:
    """Send structlog's events and the libraries' warnings to stderr."""
    person = sys.stderr.isatty()
    stderr = _Stderr()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stderr),  # type: ignore[arg-type] # it writes and flushes
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=stderr, force=True)
