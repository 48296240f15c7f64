"""A program that takes orders, a line of JSON each, in a process of its own: nothing of the measurer weighs on it."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from benchmarks.surroundings import ROOT, plain

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Failed(Exception):
    """It ended before it answered; why stands on stderr."""


class Apart:
    """`python -m <module> …`, for as long as the block lasts."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**plain(), **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, order: object) -> Any:
        """What it answers to the order.

        Raises: Failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # If it has ended, there is no answer to read.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self._module} ended with status {self._process.wait()}")
        return json.loads(line)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def take_orders(obey: Callable[[Any], object]) -> None:
    """Be such a program: obey every line of stdin, until it ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(obey(json.loads(line))) + "\n")
        sys.stdout.flush()
