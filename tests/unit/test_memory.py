"""The memory of one body serves the next."""

import platform
import subprocess
import sys

import pytest

from tests.support.programs import ROOT

PROGRAM = """
import resource
from shared.memory import keep_what_is_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bodies = [bytearray(200_000) for _ in range(8)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_what_is_freed()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have settings of their own")
def test_memory_of_bodies_is_used_again_instead_of_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)

    before, after = map(int, done.stdout.split())
    assert before > 10_000
    assert after < 1000
