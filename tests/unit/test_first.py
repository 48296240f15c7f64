"""A worker that is the first process of its container runs below it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.programs import ROOT

# The second process has another number, as in a container.
_PROGRAM = """
import os, signal, sys, time
from worker import first

os.getpid, ours = lambda first=os.getpid(): 1 if real() == first else real(), os.getpid
real = ours

def run():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    print("runs", real(), flush=True)
    DEED
    time.sleep(60)

first.below_the_first(run)
"""


@contextmanager
def a_first_process(deed: str = "pass") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.replace("DEED", deed)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            word, second = process.stdout.readline().split()
            assert word == "runs"
            yield process
        finally:
            process.kill()
            with suppress(ProcessLookupError, UnboundLocalError):
                os.kill(int(second), signal.SIGKILL)


def test_a_signal_reaches_the_second_process_and_its_exit_is_the_first_one_s() -> None:
    with a_first_process() as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 3


@pytest.mark.parametrize(("deed", "code"), [("sys.exit(7)", 7), ("os.kill(real(), signal.SIGKILL)", 128 + 9)])
def test_the_first_process_ends_as_the_second_one_does(deed: str, code: int) -> None:
    with a_first_process(deed) as process:
        assert process.wait(20) == code
