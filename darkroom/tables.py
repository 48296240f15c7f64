"""How results look on a terminal."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import StringIO
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from darkroom.plain import plain
from darkroom.rows import Row
from darkroom.types import Job, Status

_NOTHING: Final = "-"
_PIPE_WIDTH: Final = 200


def drawn(table: Table) -> str:
    """The table as text for stdout. In a pipe lines are not cut at a terminal's width."""
    stdout, sheet = _console(), StringIO()
    shown = stdout.is_terminal
    _console(file=sheet, force_terminal=shown, width=stdout.width if shown else _PIPE_WIDTH).print(table)
    return sheet.getvalue()


@contextmanager
def progress_of(total: int, doing: str) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal for it; call what is given for every step."""
    console = _console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # A bar moves by the same means as colours come.
    shown = console.is_terminal and console.color_system is not None
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def results_table(rows: Sequence[Row]) -> Table:
    """File, label, confidence, work and queue time; the reason instead where there is none."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("label", overflow="fold")
    for heading in ("confidence", "work ms", "queue ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(plain(row.file)),
            _label(row.label, row.error),
            _number(row.confidence, 3),
            _number(row.work_ms, 1),
            _number(row.queue_ms, 1),
        )
    return table


def jobs_table(jobs: Sequence[Job], now: datetime) -> Table:
    """A line for each job: id, state, best label or reason, confidence, age at `now`."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("job", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("label", overflow="fold")
    for heading in ("confidence", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job in jobs:
        best = job.result.best if job.result else None
        table.add_row(
            Text(plain(job.id)),
            Text(plain(job.status)),
            _label(best.label if best else None, job.error.detail if job.error else None),
            _number(best.confidence if best else None, 3),
            _age((now - job.created_at).total_seconds()),
        )
    return table


def letters_table(letters: Sequence[Job], now: datetime) -> Table:
    """A line for each dead letter: id, code, attempts, reason, age at `now`."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("job", no_wrap=True)
    table.add_column("code", no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    for letter in letters:
        table.add_row(
            Text(plain(letter.id)),
            Text(plain(letter.error.code if letter.error else _NOTHING)),
            Text(str(letter.attempt)),
            _label(None, letter.error.detail if letter.error else None),
            _age((now - letter.created_at).total_seconds()),
        )
    return table


def job_table(job: Job) -> Table:
    """A job's fields that are known."""
    found = [f"{item.label} {item.confidence:.3f}" for item in job.result.predictions] if job.result else []
    none = f"none at {job.confidence_threshold:g} or above" if job.result else ""
    waiting = f"{job.queue.position}" if job.queue.position is not None else ""
    if job.queue.waiting_reason:
        waiting = f"{waiting} ({job.queue.waiting_reason})".strip()
    moments = {
        "created": job.created_at,
        "started": job.started_at,
        "finished": job.finished_at,
        "record goes": job.expires_at,
    }
    return _facts(
        {
            "job": job.id,
            "status": job.status,
            "model": f"{job.model}@{job.model_version}",
            "attempt": f"{job.attempt} of {job.max_attempts}" if job.attempt else "",
            "retry of": job.retry_of or "",
            "retried as": job.retried_as or "",
            "place in the queue": waiting,
            "predictions": ", ".join(found) or none,
            "error": f"{job.error.code}: {job.error.detail}" if job.error else "",
            "work ms": _number(job.timings.latency_ms, 1, nothing=""),
            "queue ms": _number(job.timings.queue_ms, 1, nothing=""),
            **{name: moment.isoformat() for name, moment in moments.items() if moment},
        }
    )


def status_table(status: Status) -> Table:
    """The service's figures, a line for each worker."""
    jobs = ", ".join(f"{count} {state}" for state, count in status.jobs.items())
    facts = {
        "up": f"{status.uptime_s:.0f} s",
        "serving": f"{status.serving.model}@{status.serving.model_version}",
        "jobs": jobs,
        "queue": f"{status.queue.depth} waiting",
        "oldest": _seconds(status.queue.oldest_age_s),
        "expected wait": _milliseconds(status.queue.estimated_wait_ms),
        "workers": "" if status.workers else "none",
    }
    for worker in status.workers:
        facts[f"worker {worker.id}"] = (
            f"{worker.state}, {worker.model}@{worker.model_version}, {worker.jobs_done} jobs, "
            f"{worker.rss_bytes / 1e6:.0f} MB, heard {worker.last_heard_s:.1f} s ago"
        )
    return _facts(facts)


def _console(**options: Any) -> Console:
    # Rich would still print bold.
    return Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto", **options)


def _label(label: str | None, error: str | None) -> Text:
    return Text(plain(error), style="red") if error else Text(plain(label or _NOTHING))


def _age(age_s: float) -> str:
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age_s >= seconds:
            return f"{age_s // seconds:.0f} {unit}"
    return f"{max(0.0, age_s):.0f} s"


def _facts(facts: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            table.add_row(Text(plain(name)), Text(plain(text)))
    return table


def _number(value: float | None, digits: int, *, nothing: str = _NOTHING) -> str:
    return nothing if value is None else f"{value:.{digits}f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
