"""The command `darkroom`: its words and options. What each command does stands in `darkroom.commands`."""

# Those come with HTTP and tables, which help and completion do without; and every option is a parameter.
# ruff: noqa: PLC0415, PLR0913

import os
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from darkroom.exits import MEANINGS, MISUSED, foreseen, leave
from darkroom.helped import Command, Group
from darkroom.keys import KEY, KEY_FILE

DEFAULT_URL: Final = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="DARKROOM_URL", show_envvar=True, metavar="URL", help="Where Darkroom is.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        envvar=KEY_FILE, show_envvar=True, metavar="PATH", help=f"A file that holds the key; not together with {KEY}."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES", help="Pictures, or folders: of those all files, however deep, with a picture's suffix."
    ),
]
Ids = Annotated[list[str], typer.Argument(metavar="IDS", help="Jobs' ids; - reads them from stdin.")]
Threshold = Annotated[float, typer.Option(min=0, max=1, metavar="NUMBER", help="Least confidence to be told.")]

main = typer.Typer(
    name="darkroom",
    cls=Group,
    help="Pictures in, their classes out.",
    epilog="Exit status: " + "; ".join(f"{number} {meaning}" for number, meaning in MEANINGS.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help starts in a fifth of the time, and is the same everywhere.
    rich_markup_mode=None,
)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        typer.echo(f"darkroom {version('darkroom')}")
        raise typer.Exit


@main.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@main.command(cls=Command)
def classify(
    files: Files,
    *,
    threshold: Threshold = 0.5,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds to wait for each picture.")] = 60.0,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Classify pictures and wait for the answers. One that cannot be classified is a row with its reason."""
    from darkroom import commands

    server = commands.Server(url=url, key_file=key_file)
    with foreseen():
        _end(commands.classify(server, files, threshold=threshold, timeout_s=timeout, as_json=as_json))


@main.command(cls=Command)
def submit(
    files: Files,
    *,
    threshold: Threshold = 0.5,
    priority: Annotated[Literal["high", "normal", "low"], typer.Option(help="How early the jobs may go.")] = "normal",
    top_k: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most predictions wanted, all unless given.")
    ] = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Hand over pictures; print their jobs' ids. They go on by themselves: see `wait`."""
    from darkroom import commands
    from darkroom.exchanges import Wishes

    server = commands.Server(url=url, key_file=key_file)
    wishes: Wishes = {"confidence_threshold": threshold, "priority": priority, "top_k": top_k}
    with foreseen():
        _end(commands.submit(server, files, wishes, as_json=as_json))


@main.command(cls=Command)
def wait(
    ids: Ids,
    *,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds to wait for all of them.")] = 60.0,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Wait until jobs are done, and show them. Those that are not done in time go on."""
    from darkroom import commands

    server = commands.Server(url=url, key_file=key_file)
    with foreseen():
        _end(commands.wait(server, ids, timeout_s=timeout, as_json=as_json))


@main.command(cls=Command)
def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job's id.")],
    *,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a job as it stands."""
    from darkroom import commands

    with foreseen():
        _end(commands.job(commands.Server(url=url, key_file=key_file), job_id, as_json=as_json))


@main.command(cls=Command)
def jobs(
    *,
    status: Annotated[
        Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] | None,
        typer.Option(help="Only those in this state."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most jobs to show.")] = 20,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from darkroom import commands

    server = commands.Server(url=url, key_file=key_file)
    with foreseen():
        _end(commands.jobs(server, status=status, model=model, limit=limit, as_json=as_json))


@main.command(cls=Command)
def cancel(ids: Ids, *, url: Url = DEFAULT_URL, key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Ask jobs to stop; tell how each stands. A job that runs may take a moment."""
    from darkroom import commands

    with foreseen():
        _end(commands.cancel(commands.Server(url=url, key_file=key_file), ids, as_json=as_json))


@main.command(cls=Command)
def retry(ids: Ids, *, url: Url = DEFAULT_URL, key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Try jobs again, as new ones; print their ids. For jobs that failed, were canceled or expired.

    A job's picture is kept for an hour after such an end, unless the server is set otherwise.
    """
    from darkroom import commands

    with foreseen():
        _end(commands.retry(commands.Server(url=url, key_file=key_file), ids, as_json=as_json))


@main.command(cls=Command)
def dead_letters(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most dead letters to show.")] = 20,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first. They are jobs that failed, and not by a bad picture alone."""
    from darkroom import commands

    with foreseen():
        _end(commands.dead_letters(commands.Server(url=url, key_file=key_file), limit=limit, as_json=as_json))


@main.command(cls=Command)
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="IDS", help="Jobs' ids; - reads them from stdin.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="The newest ones, instead of naming them.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, max=1000, metavar="N", help="With --all: most of them, 100 unless told.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="With --all: so many a second, one after the other, instead of all now."),
    ] = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again, as new jobs; print their ids. Best once what they died of is mended."""
    from darkroom import commands

    if every == bool(ids):
        leave("Name dead letters by their ids, or all of them with --all; one of the two.", MISUSED)
    if ids and not (limit is None and rate is None):
        leave("--limit and --rate go with --all.", MISUSED)
    server = commands.Server(url=url, key_file=key_file)
    with foreseen():
        if ids:
            _end(commands.replay(server, ids, as_json=as_json))
        _end(commands.replay_all(server, limit=limit or 100, rate_per_s=rate, as_json=as_json))


@main.command(cls=Command)
def delete(ids: Ids, *, url: Url = DEFAULT_URL, key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Erase jobs, their pictures and results. One that runs has to be canceled first."""
    from darkroom import commands

    with foreseen():
        _end(commands.delete(commands.Server(url=url, key_file=key_file), ids, as_json=as_json))


@main.command(cls=Command)
def status(*, url: Url = DEFAULT_URL, key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Show what the service is doing."""
    from darkroom import commands

    with foreseen():
        _end(commands.status(commands.Server(url=url, key_file=key_file), as_json=as_json))


@main.command(cls=Command)
def up(
    *,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            envvar="DARKROOM_PORT",
            show_envvar=True,
            help="Port on 127.0.0.1; 0 takes a free one.",
        ),
    ] = 8000,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            metavar="N",
            help="Worker programs, one picture at a time each; one per core unless given.",
        ),
    ] = None,
    gateways: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Gateway programs on the one port.")] = 1,
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the private Redis keeps its data.")] = Path(
        ".darkroom"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Tell the URL as one line of JSON.")] = False,
) -> None:
    """Run Darkroom here until Ctrl-C. Gateways, workers and, unless one is given, a private Redis.

    One is given by DARKROOM_REDIS_URL, or by DARKROOM_REDIS_URL_FILE, a file that holds its URL.
    """
    if not sys.platform.startswith("linux"):
        leave("`darkroom up` runs on Linux only; elsewhere use docker compose.", MISUSED)
    # It needs Linux, which the other commands do not.
    from darkroom import up as running

    try:
        running.refuse_missing_parts()
    except running.Refused as refused:
        leave(str(refused), MISUSED)
    stack = running.Stack(port=port, workers=workers, gateways=gateways, data=data, as_json=as_json)
    _end(running.up(stack, os.environ))


def _end(exit_status: int) -> None:
    raise typer.Exit(exit_status)
