"""The command `darkroom`. Exit status: 0 good, 1 something failed, 2 wrong use, 3 no server there."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.errors import ConnectionFailed, DarkroomError, InvalidUrl
from darkroom.folders import find_pictures
from darkroom.rows import Row, classify_all
from darkroom.tables import job_table, out, progress_of, results_table, status_table
from darkroom.transport import DEFAULT_URL

FAILED: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3

Url = Annotated[str, typer.Option(envvar="DARKROOM_URL", help="Where Darkroom is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

main = typer.Typer(
    name="darkroom",
    help="Pictures in, their classes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@main.command()
def classify(
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders to look for pictures in.")],
    *,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least confidence to be told.")] = 0.5,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for each picture.")] = 60.0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Classify pictures. One that cannot be classified is a row with its reason, and exit status 1."""
    pictures = find_pictures(files)
    if not pictures:
        _leave("There are no pictures in there.", MISUSED)
    with _foreseen():
        rows = asyncio.run(_classify(pictures, threshold, timeout, url))
    if as_json:
        _print_json([asdict(row) for row in rows])
    else:
        out().print(results_table(rows))
    raise typer.Exit(FAILED if any(row.error for row in rows) else 0)


@main.command()
def status(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show what the service is doing."""
    with _foreseen(), Client(url) as client:
        found = client.status()
    if as_json:
        _print_json(asdict(found))
    else:
        out().print(status_table(found))


@main.command()
def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job's id.")],
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show a job as it stands."""
    with _foreseen(), Client(url) as client:
        found = client.job(job_id)
    if as_json:
        _print_json(asdict(found))
    else:
        out().print(job_table(found))


@main.command()
def up(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker programs, one picture at a time each.")] = 2,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="Gateway programs on the one port.")] = 1,
    data: Annotated[Path, typer.Option(help="Where the private Redis keeps its data.")] = Path(".darkroom"),
) -> None:
    """Run Darkroom here until Ctrl-C: gateways, workers and, unless DARKROOM_REDIS_URL is set, a private Redis."""
    if not sys.platform.startswith("linux"):
        _leave("`darkroom up` runs on Linux only; elsewhere use docker compose.", MISUSED)
    # It needs Linux, which the other commands do not.
    from darkroom import up as running  # noqa: PLC0415

    try:
        running.refuse_missing_parts()
    except running.Refused as refused:
        _leave(str(refused), MISUSED)
    stack = running.Stack(port=port, workers=workers, gateways=gateways, data=data)
    raise typer.Exit(running.up(stack, os.environ))


async def _classify(pictures: list[Path], threshold: float, timeout_s: float, url: str) -> list[Row]:
    async with AsyncClient(url) as client:
        with progress_of(len(pictures)) as advance:
            return await classify_all(client, pictures, threshold=threshold, timeout_s=timeout_s, advance=advance)


@contextmanager
def _foreseen() -> Iterator[None]:
    try:
        yield
    except ConnectionFailed as error:
        _leave(f"{error} Is it running? `darkroom up` starts one.", UNREACHABLE)
    except InvalidUrl as error:
        _leave(str(error), MISUSED)
    except DarkroomError as error:
        _leave(str(error), FAILED)


def _leave(sentence: str, exit_status: int) -> NoReturn:
    typer.echo(f"darkroom: {sentence}", err=True)
    raise typer.Exit(exit_status)


def _print_json(document: Any) -> None:
    def text(value: object) -> str:
        assert isinstance(value, datetime)
        return value.isoformat()

    typer.echo(json.dumps(document, indent=2, default=text))
