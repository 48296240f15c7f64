"""Programs kept running: when they start again, how they end, and what ends the keeping."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.processes import Backoff, Child, Misconfigured, Program, Stopped, Supervisor
from tests.support.programs import ROOT
from tests.support.waiting import until


class FakeProcess:
    """A process that lives until it is told how it ended."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def wait(self) -> int:
        assert self.status is not None
        return self.status


class Nursery:
    """Starts fake processes and keeps them."""

    def __init__(self) -> None:
        self.born: list[FakeProcess] = []

    def start(self) -> FakeProcess:
        self.born.append(FakeProcess())
        return self.born[-1]


def lives_of(*lives_s: float) -> list[float]:
    """The pauses after lives of these lengths."""
    nursery, now, pauses = Nursery(), 100.0, []
    child = Child(name="x", start=nursery.start)
    for life_s in lives_s:
        child.start_if_due(now)
        now += life_s
        nursery.born[-1].status = 1
        assert child.died(now)
        assert child.due is not None
        pauses.append(child.due - now)
        now = child.due
    return pauses


def test_pauses_double_up_to_ten_seconds() -> None:
    assert lives_of(0, 0, 0, 0, 0, 0) == [1, 2, 4, 8, 10, 10]


def test_after_a_life_of_ten_seconds_it_starts_again_at_once_and_the_pauses_begin_anew() -> None:
    assert lives_of(0, 0, 9.9, 10, 0, 0) == [1, 2, 4, 0, 1, 2]
    assert lives_of(10, 10, 0) == [0, 0, 1]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_a_short_life_is_never_without_a_pause_and_none_is_longer_than_the_most(lives_s: list[float]) -> None:
    pause: float | None = None
    for life_s in lives_s:
        pause = Backoff().pause_s(pause, life_s)
        assert pause == 0 if life_s >= 10 else 1 <= pause <= 10


def test_a_child_starts_when_its_time_has_come_and_not_before() -> None:
    nursery = Nursery()
    child = Child(name="x", start=nursery.start)
    child.start_if_due(0)
    nursery.born[0].status = 1

    died = [child.died(5), child.died(5.1)]
    child.start_if_due(5.9)
    too_early = len(nursery.born)
    child.start_if_due(6)

    assert died == [True, False]
    assert (too_early, len(nursery.born)) == (1, 2)
    assert child.due is None


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    # Under nohup the whole suite ignores it, and so would the supervisor.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with Supervisor(say=lambda _: None) as keeper:
        yield keeper
    signal.signal(signal.SIGHUP, before)


def a_child(source: str, *, backoff: Backoff | None = None, **more: object) -> Child:
    program = Program(
        name="stand-in",
        command=(sys.executable, "-S", "-c", source),
        environ={**os.environ},
        **more,  # type: ignore[arg-type]
    )
    return Child(name=program.name, start=program.start, backoff=backoff or Backoff(first_s=0.01))


STAY = "import signal; signal.pause()"
STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({path!r}).touch()
while True: signal.pause()
"""


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def test_a_child_that_is_killed_starts_again(supervisor: Supervisor) -> None:
    child = a_child(STAY)
    supervisor.keep([child])
    supervisor.watch(lambda: True, every_s=0.01)
    first = pid_of(child)

    os.kill(first, signal.SIGKILL)
    supervisor.watch(lambda: child.process is not None and child.process.pid != first, every_s=0.01)

    assert child.status == -signal.SIGKILL


def test_a_death_without_a_pause_is_told_as_such() -> None:
    said: list[str] = []
    with Supervisor(say=said.append) as supervisor:
        child = a_child("raise SystemExit(7)", backoff=Backoff(settled_s=0))
        supervisor.keep([child])

        supervisor.watch(lambda: bool(said), every_s=0.01)

    assert said[0] == "stand-in ended with status 7; it starts again at once"


def test_a_death_is_told_with_its_cause_and_the_pause() -> None:
    said: list[str] = []
    with Supervisor(say=said.append) as supervisor:
        child = a_child("raise SystemExit(7)", backoff=Backoff(first_s=5))
        supervisor.keep([child])

        supervisor.watch(lambda: child.status is not None, every_s=0.01)

    assert said == ["stand-in ended with status 7; it starts again in 5 s"]


def test_a_child_with_settings_that_make_no_sense_ends_the_keeping(supervisor: Supervisor) -> None:
    supervisor.keep([a_child("raise SystemExit(2)")])

    with pytest.raises(Misconfigured, match="stand-in"):
        supervisor.watch(lambda: False, every_s=0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_keeping(supervisor: Supervisor, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)

    with pytest.raises(Stopped):
        supervisor.watch(lambda: False, every_s=10)
    supervisor.watch_forever()

    assert not supervisor.hurried


def test_what_ignores_the_end_is_killed_after_its_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    sign = tmp_path / "up"
    stubborn, gentle = a_child(STUBBORN.format(path=str(sign))), a_child(STAY)
    supervisor.keep([stubborn, gentle])
    supervisor.watch(sign.exists, every_s=0.01)
    pids = [pid_of(stubborn), pid_of(gentle)]

    supervisor.end([stubborn, gentle], grace_s=0.2)

    assert gentle.status == -signal.SIGTERM
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_has_ended_does_not_start_again(supervisor: Supervisor) -> None:
    child = a_child(STAY)
    supervisor.keep([child])
    supervisor.watch(lambda: True, every_s=0.01)

    supervisor.end([child], grace_s=10)
    supervisor.watch(lambda: True, every_s=0.01)

    assert child.process is None
    assert child.due is None


def test_a_second_request_to_stop_does_not_wait_for_the_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    sign = tmp_path / "up"
    child = a_child(STUBBORN.format(path=str(sign)))
    supervisor.keep([child])
    supervisor.watch(sign.exists, every_s=0.01)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

    supervisor.end([child], grace_s=1000)

    assert supervisor.hurried
    assert child.process is None


def test_signals_are_given_back_as_they_were() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]

    with Supervisor(say=lambda _: None):
        during = [signal.getsignal(number) for number in numbers]

    assert [signal.getsignal(number) for number in numbers] == before
    assert during != before


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Supervisor(say=lambda _: None) as supervisor:
            os.kill(os.getpid(), signal.SIGHUP)
            supervisor.watch(lambda: True, every_s=0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_has_its_own_session_its_input_and_what_was_passed(supervisor: Supervisor, tmp_path: Path) -> None:
    read, write = os.pipe()
    sign = tmp_path / "sign"
    source = (
        f"import os, pathlib, sys; os.write({write}, b'heard'); "
        f"pathlib.Path({str(sign)!r}).write_text(f'{{os.getsid(0)}} {{sys.stdin.read()}}.'); {STAY}"
    )
    child = a_child(source, passed=(write,), stdin=b"settings")
    supervisor.keep([child])

    supervisor.watch(lambda: sign.exists() and sign.read_text().endswith("."), every_s=0.01)

    assert os.read(read, 100) == b"heard"
    assert sign.read_text() == f"{pid_of(child)} settings."
    os.close(read)
    os.close(write)


def test_a_program_that_does_not_read_its_input_does_no_harm(supervisor: Supervisor) -> None:
    child = a_child("import os; os.close(0)", stdin=b"x" * 1_000_000, backoff=Backoff(first_s=60))
    supervisor.keep([child])

    supervisor.watch(lambda: child.status is not None, every_s=0.01)

    assert child.status == 0


def test_a_program_that_is_not_there_is_an_os_error(supervisor: Supervisor) -> None:
    program = Program(name="x", command=("/nonexistent/program",), environ={})
    supervisor.keep([Child(name="x", start=program.start)])

    with pytest.raises(FileNotFoundError):
        supervisor.watch(lambda: True, every_s=0.01)


KEEPER = """
import os, signal, sys
from darkroom.processes import Program
command = (sys.executable, "-S", "-c", sys.argv[1])
Program(name="x", command=command, environ=os.environ, orphaned=signal.Signals(int(sys.argv[2]))).start()
signal.pause()
"""
ORPHAN = """
import os, pathlib, signal
sign = pathlib.Path({path!r})
signal.signal(signal.SIGTERM, lambda *_: (sign.write_text("term"), os._exit(0)))
sign.write_text(f"{{os.getpid()}}.")
while True: signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_gets_the_signal_of_its_choice_when_its_keeper_is_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    sign = tmp_path / "sign"
    orphan = ORPHAN.format(path=str(sign))
    with subprocess.Popen([sys.executable, "-c", KEEPER, orphan, str(number.value)], cwd=ROOT) as keeper:
        until(lambda: sign.exists() and sign.read_text().endswith("."))
        pid = int(sign.read_text()[:-1])

        keeper.kill()

    until(lambda: not is_alive(pid), what="the program to end")
    assert (sign.read_text() == "term") == (number is signal.SIGTERM)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that is only not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
