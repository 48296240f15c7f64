"""What the harness does to programs, and that it leaves none behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.keeper import Keeper
from tests.faults.members import Member, Part, descendants
from tests.support.programs import ROOT
from tests.support.waiting import until

PROGRAM = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.close()


@pytest.fixture
def member(tmp_path: Path, keeper: Keeper) -> Iterator[Member]:
    """A program that starts one process of its own group and one that leaves for a group of its own."""
    (tmp_path / "three.py").write_text(PROGRAM, encoding="utf-8")
    member = Member("three", "three", {**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path, keeper)
    member.start()
    until(lambda: all_three(member), what="all three to run")
    yield member
    member.end()


def all_three(member: Member) -> bool:
    """Whether all run, and the one that leaves the group has left it: it is born in it."""
    everybody = descendants(member.pid)
    return len(everybody) == 3 and len({os.getpgid(pid) for pid in everybody}) == 2


def test_killing_the_main_process_leaves_what_it_started_as_orphans(member: Member) -> None:
    _, *others = descendants(member.pid)

    assert member.orphans() == []
    assert member.kill(Part.MAIN)

    until(member.found_dead)
    assert sorted(member.orphans()) == sorted(others)


def test_killing_the_group_spares_only_what_left_it(member: Member) -> None:
    main, *others = descendants(member.pid)
    (apart,) = (pid for pid in others if os.getpgid(pid) != main)

    member.kill()

    until(member.found_dead)
    until(lambda: member.orphans() == [apart], what="the others to die")


def test_the_end_of_a_member_is_the_end_of_all_that_came_of_it(member: Member) -> None:
    member.kill(Part.MAIN)
    until(member.found_dead)
    member.start()
    until(lambda: all_three(member), what="all three to run again")

    member.end()

    until(lambda: member.processes() == [], what="all to be gone")


def test_a_frozen_member_ends_like_any_other(member: Member) -> None:
    member.freeze()

    member.end(patience_s=0)

    until(lambda: member.processes() == [], what="all to be gone")
    assert member.exit_code == -signal.SIGKILL


def test_what_was_started_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, time\n"
        "from tests.faults.keeper import Keeper\n"
        "keeper = Keeper()\n"
        "sleeper = subprocess.Popen(['sleep', '600'], process_group=0)\n"
        "keeper.keep(-sleeper.pid)\n"
        "print(sleeper.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        sleeper = int(starter.stdout.readline())

        starter.kill()

        until(lambda: not _runs(sleeper), what="the sleeper to be killed")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except OSError:
        return False
