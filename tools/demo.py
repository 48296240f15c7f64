"""Start everything, classify the photographs of examples/ in three ways, print a table, stop everything.

By poll: submit, then ask until done. By long wait: submit, then one request that is held until the job has ended.
By /predict: one request for all of it. The three must agree, or the demo fails.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from rich.table import Table

from darkroom import Client, Job, Prediction, Timings

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLES: Final = ROOT / "examples"
WORKERS: Final = 2
_START_S: Final = 60
_STOP_S: Final = 60
_POLL_S: Final = 0.02


class Failed(Exception):
    """The demo did not go as it should; the message says how."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photograph classified in one way; `took_ms` is what the caller waited, in milliseconds."""

    photograph: str
    way: str
    predictions: tuple[Prediction, ...]
    timings: Timings
    took_ms: float


def by_poll(client: Client, photograph: Path) -> tuple[tuple[Prediction, ...], Timings]:
    """Submit, then ask again and again."""
    job = client.submit(photograph, confidence_threshold=0.0)
    while not job.done:
        time.sleep(_POLL_S)
        job = client.job(job.id)
    return _answer(job)


def by_wait(client: Client, photograph: Path) -> tuple[tuple[Prediction, ...], Timings]:
    """Submit, then let the server hold the question."""
    return _answer(client.wait(client.submit(photograph, confidence_threshold=0.0)))


def by_predict(client: Client, photograph: Path) -> tuple[tuple[Prediction, ...], Timings]:
    """One request."""
    answer = client.classify(photograph, confidence_threshold=0.0)
    return answer.predictions, answer.timings


WAYS: Final[dict[str, Callable[[Client, Path], tuple[tuple[Prediction, ...], Timings]]]] = {
    "poll": by_poll,
    "long wait": by_wait,
    "/predict": by_predict,
}


def _answer(job: Job) -> tuple[tuple[Prediction, ...], Timings]:
    if job.result is None:
        raise Failed(f"job {job.id} ended as {job.status}")
    return job.result.predictions, job.timings


@contextmanager
def everything(folder: str) -> Iterator[str]:
    """`darkroom up` with its data in `folder`, stopped afterwards. Yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "darkroom", "up"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--data", f"{folder}/data"]
    with Path(folder, "log").open("w+", encoding="utf-8") as log:
        up = subprocess.Popen(command, env=_without_key(), stdout=subprocess.PIPE, stderr=log, text=True)
        late = _kill_after(up, _START_S)
        try:
            url = _ready(up, log)
            late.cancel()
            yield url
        finally:
            late.cancel()
            up.send_signal(signal.SIGINT)
            code = up.wait(_STOP_S)
    if code:
        raise Failed(f"stopping ended with exit code {code}")


def _without_key() -> dict[str, str]:
    # A key that the caller has at hand is for another server.
    return {name: value for name, value in os.environ.items() if name not in {"X_API_KEY", "X_API_KEY_FILE"}}


def _kill_after(up: subprocess.Popen[str], seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, up.kill)
    timer.daemon = True
    timer.start()
    return timer


def _ready(up: subprocess.Popen[str], log: IO[str]) -> str:
    assert up.stdout is not None
    word, _, url = up.stdout.readline().strip().partition(" ")
    if word != "ready":
        log.seek(0)
        raise Failed(f"it did not get ready:\n{log.read()}")
    return url


def classify(client: Client) -> list[Row]:
    """Every photograph in every way."""
    rows = []
    for photograph in sorted(path for path in EXAMPLES.iterdir() if path.suffix in {".jpg", ".png"}):
        for way, ask in WAYS.items():
            asked = time.perf_counter()
            predictions, timings = ask(client, photograph)
            rows.append(Row(photograph.name, way, predictions, timings, (time.perf_counter() - asked) * 1000))
    return rows


def table(rows: list[Row]) -> Table:
    """The rows for people to read."""
    shown = Table(title="The mock model's word: it has never seen an animal, but it always says the same")
    for name in ("photograph", "way", "label", "confidence", "work ms", "queue ms", "waited ms"):
        shown.add_column(name, justify="right" if name.endswith(("ms", "confidence")) else "left", no_wrap=True)
    for row in rows:
        best = row.predictions[0]
        spans = (row.timings.latency_ms, row.timings.queue_ms, row.took_ms)
        figures = ["" if span is None else f"{span:.1f}" for span in spans]
        shown.add_row(row.photograph, row.way, best.label, f"{best.confidence:.3f}", *figures)
    return shown


def main() -> int:
    """Run the demo. Returns: the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    try:
        with tempfile.TemporaryDirectory() as folder, everything(folder) as url, Client(url) as client:
            console.print(f"gateway, {WORKERS} workers and a private Redis are up at {url}")
            rows = classify(client)
            console.print(table(rows))
            status = client.status()
        answers = {(row.photograph, row.predictions) for row in rows}
        photographs = {row.photograph for row in rows}
        if not photographs or len(answers) != len(photographs):
            raise Failed("the three ways do not agree")  # noqa: TRY301 - the one place that knows
        console.print(
            f"{len(rows)} jobs for {len(photographs)} photographs, {status.jobs['succeeded']} succeeded; "
            "the three ways agree; all stopped"
        )
    except Failed as failed:
        console.print(f"demo: {failed}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
