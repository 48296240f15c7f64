"""The error tree and the page that shows it."""

import re

from shared import errors
from shared.errors import DarkroomError, FatalError, TransientError, UsageError


def tree(kind: type[DarkroomError]) -> set[type[DarkroomError]]:
    return {kind} | {inner for below in kind.__subclasses__() for inner in tree(below)}


def ours() -> set[type[DarkroomError]]:
    return {kind for kind in tree(DarkroomError) if kind.__module__ == errors.__name__}


def test_the_docstring_names_every_class_with_its_code() -> None:
    shown = dict(re.findall(r"[├└]── (\w+) +([a-z0-9-]+)$", errors.__doc__ or "", re.MULTILINE))

    leaves = {kind for kind in ours() if not kind.__subclasses__() or kind.__name__ in {"InvalidImage", "NotFound"}}

    assert shown == {kind.__name__: kind.code for kind in leaves}


def test_every_error_is_somebodys_fault() -> None:
    for kind in ours() - {DarkroomError}:
        assert issubclass(kind, (UsageError, TransientError, FatalError))
