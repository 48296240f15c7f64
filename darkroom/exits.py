"""How a command ends: its exit status, and the sentence that goes with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from darkroom.errors import (
    AnswerTimeout,
    ConnectionFailed,
    DarkroomError,
    InvalidKey,
    InvalidSurroundings,
    InvalidUrl,
    NotAllowed,
    Unauthorized,
)
from darkroom.keys import KEY, KEY_FILE, UnusableKey
from darkroom.plain import plain

FAILED: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3
LATE: Final = 4
REFUSED: Final = 5
INTERRUPTED: Final = 130
UNREAD: Final = 141

MEANINGS: Final = {
    0: "all went well",
    FAILED: "something failed: a picture, a job, a call",
    MISUSED: "wrong use",
    UNREACHABLE: "no server there",
    LATE: "not done in time",
    REFUSED: "the key is missing or refused",
    INTERRUPTED: "ended by Ctrl-C",
    UNREAD: "nobody reads the output any more",
}
"""Every exit status. Where two hold, the one that ended the command counts, and 4 before 1."""


@contextmanager
def foreseen() -> Iterator[None]:
    """End the command with a sentence and its exit status where an error of the library ends it."""
    try:
        yield
    except Unauthorized:
        leave(
            f"The server wants a key, and not the one it was given, if any. Give it in {KEY}, or in a file with "
            f"--key-file or {KEY_FILE}. In containers `docker compose exec gateway cat /secrets/key` shows it.",
            REFUSED,
        )
    except NotAllowed as error:
        leave(str(error), REFUSED)
    except AnswerTimeout as error:
        leave(str(error), LATE)
    except ConnectionFailed as error:
        leave(f"{error} Is it running? `darkroom up` starts one.", UNREACHABLE)
    except (InvalidKey, InvalidSurroundings, InvalidUrl, UnusableKey) as error:
        leave(str(error), MISUSED)
    except DarkroomError as error:
        leave(str(error), FAILED)


def leave(sentence: str, exit_status: int) -> NoReturn:
    """Say why, and end."""
    say(sentence)
    raise typer.Exit(exit_status)


def say(sentence: str) -> None:
    """A line on stderr that no terminal obeys."""
    typer.echo(f"darkroom: {plain(sentence)}", err=True)


def reason(error: DarkroomError | OSError) -> str:
    """Why it failed, as a sentence without the file's name."""
    return f"{error.strerror or error}." if isinstance(error, OSError) else str(error)
