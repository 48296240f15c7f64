"""How many calls a piece of work makes: its price in an interpreter, and the same on every machine."""

import sys
from typing import Self


class Calls:
    """Counts calls, of Python and of C alike, inside its block."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _seen(self, _frame: object, event: str, _argument: object) -> None:
        self.count += event in {"call", "c_call"}
