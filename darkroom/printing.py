"""What a command writes to stdout."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from io import TextIOWrapper
from typing import Any

import typer

from darkroom.exits import FAILED, UNREAD, leave
from darkroom.plain import encodable


@contextmanager
def writing() -> Iterator[None]:
    """End the command where what is written in here is not read any more (quietly), or cannot be written."""
    try:
        yield
    except BrokenPipeError:
        _forget()
        raise typer.Exit(UNREAD) from None
    except OSError as error:
        _forget()
        leave(f"The output cannot be written: {error.strerror}.", FAILED)


def write(text: str) -> None:
    """Write it at once. Ends the command where nobody reads it any more (quietly), or where it cannot be written."""
    # Python's own sign that there is no stdout.
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    with writing():
        sys.stdout.write(text)
        sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write dataclasses, mappings, lists and what they hold as one JSON document, in ASCII."""
    write(f"{json.dumps(_document(value), indent=2)}\n")


def _document(value: Any) -> Any:
    match value:
        case str():
            return encodable(value)
        case datetime():
            return value.isoformat()
        case Mapping():
            return {encodable(name): _document(item) for name, item in value.items()}
        case list() | tuple():
            return [_document(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: _document(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def _forget() -> None:
    # What is still in the buffer would be tried again, and complained about, when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
