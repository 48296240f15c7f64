"""How results look on a terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from darkroom.rows import Row
from darkroom.types import Job, Status

_NOTHING: Final = "-"
_PIPE_WIDTH: Final = 200


def out() -> Console:
    """The console of stdout. In a pipe lines are not cut at a terminal's width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal; call what is given for every step."""
    console = Console(stderr=True)
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
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
        label = Text(_plain(row.error), style="red") if row.error else Text(_plain(row.label or _NOTHING))
        table.add_row(
            Text(_plain(row.file)),
            label,
            _number(row.confidence, 3),
            _number(row.work_ms, 1),
            _number(row.queue_ms, 1),
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


def _facts(facts: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            table.add_row(Text(_plain(name)), Text(_plain(text)))
    return table


def _number(value: float | None, digits: int, *, nothing: str = _NOTHING) -> str:
    return nothing if value is None else f"{value:.{digits}f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


def _plain(text: str) -> str:
    # A file's name may hold what a terminal obeys, or bytes that are no text.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
