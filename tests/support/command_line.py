"""The command `darkroom` as it is typed: in this process, or as a program."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from typer.testing import CliRunner, Result

from darkroom.cli import main

NONE_OF_OURS: Final = dict.fromkeys(("DARKROOM_URL", "X_API_KEY", "X_API_KEY_FILE"))

WAYS_OF_WRITING: Final = (
    "COLUMNS",
    "FORCE_COLOR",
    "NO_COLOR",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
    "TTY_COMPATIBLE",
)


def run(*arguments: str | Path, stdin: str | None = None, **environ: str) -> Result:
    """What it said and how it ended, in this process."""
    words = [str(item) for item in arguments]
    return CliRunner().invoke(main, words, input=stdin, env={**NONE_OF_OURS, "NO_COLOR": "1", **environ})


def command(*arguments: str | Path) -> list[str]:
    """The words that start it as a program."""
    return [sys.executable, "-m", "darkroom", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what the command heeds, and with these."""
    gone = {*NONE_OF_OURS, *WAYS_OF_WRITING}
    return {**{name: value for name, value in os.environ.items() if name not in gone}, **changes}


def program(
    words: Iterable[str], *, stdout: int | IO[bytes] = subprocess.PIPE, **environ: str
) -> subprocess.CompletedProcess[str]:
    """What the program said and how it ended."""
    return subprocess.run(
        list(words),
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
