"""The memory of one body serves the next, and collections leave alone what was there from the start."""

import platform
import subprocess
import sys

import pytest

from tests.support.programs import ROOT

PROGRAM = """
import gc, resource
from shared.memory import settle

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bodies = [bytearray(200_000) for _ in range(8)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
settle()
faults()
print(before, faults(), gc.get_freeze_count())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have settings of their own")
def test_memory_of_bodies_is_used_again_instead_of_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)

    before, after, frozen = map(int, done.stdout.split())
    assert before > 10_000
    assert after < 1000
    assert frozen > 1000
