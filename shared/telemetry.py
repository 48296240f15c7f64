"""Logs: one event and its keys a line, JSON unless a person is watching."""

import contextlib
import logging
import sys

import structlog


class _Stderr:
    """Standard error, without its troubles: a log that cannot be written must not end a job or a request."""

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


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
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stderr),  # type: ignore[arg-type] # it writes and flushes
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=stderr, force=True)
