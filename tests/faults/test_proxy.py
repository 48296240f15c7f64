"""The proxy does to a line what its methods say, and nothing else."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.faults.proxy import Proxy, Way, obey, proxy, saying
from tests.support.programs import ROOT
from tests.support.waiting import until

_PATIENCE_S = 0.3
"""Long enough for what a whole line brings, and short enough for a test of what a cut one does not."""


class Echo(threading.Thread):
    """Sends back what it is sent, and remembers it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.heard = b""
        self.ends: list[str] = []
        self.open: list[socket.socket] = []

    def run(self) -> None:
        with suppress(OSError):
            while True:
                self.open.append(self.listener.accept()[0])
                threading.Thread(target=self.serve, args=(self.open[-1],), daemon=True).start()

    def serve(self, end: socket.socket) -> None:
        try:
            while data := end.recv(65_536):
                self.heard += data
                end.sendall(data)
            self.ends.append("end")
        except OSError:
            self.ends.append("reset")
        end.close()

    def close(self) -> None:
        # Closing alone does not wake who is accepting.
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    server.start()
    yield server
    server.close()
    server.join(10)


@pytest.fixture
def line(echo: Echo) -> Iterator[Proxy]:
    with proxy("127.0.0.1", echo.port) as running:
        yield running


@pytest.fixture
def caller(line: Proxy) -> Iterator[socket.socket]:
    with closing(call(line)) as end:
        yield end


def call(line: Proxy) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", line.port), timeout=10)
    end.settimeout(_PATIENCE_S)
    return end


def hear(line: Proxy) -> bytes:
    with closing(call(line)) as end:
        end.settimeout(10)
        return end.recv(1)


def ask(end: socket.socket, words: bytes, seconds: float = 10) -> bytes:
    """What comes back; raises TimeoutError where nothing does."""
    end.settimeout(seconds)
    end.sendall(words)
    answer = b""
    while len(answer) < len(words):
        data = end.recv(len(words) - len(answer))
        if not data:
            break
        answer += data
    return answer


def test_bytes_pass_both_ways_and_an_end_is_passed_on(echo: Echo, caller: socket.socket) -> None:
    words = bytes(range(256)) * 4000

    sender = threading.Thread(target=caller.sendall, args=(words,))
    sender.start()
    got = b""
    caller.settimeout(10)
    while len(got) < len(words):
        got += caller.recv(65_536)
    sender.join()
    caller.shutdown(socket.SHUT_WR)

    assert got == words
    assert caller.recv(1) == b""
    until(lambda: echo.ends == ["end"])


def test_latency_is_paid_each_way(line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"warm")
    line.latency_ms = 100

    started = time.monotonic()
    ask(caller, b"slow")

    assert 0.2 <= time.monotonic() - started < 2


def test_a_black_hole_holds_bytes_back_until_it_is_healed(echo: Echo, line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")

    line.black_hole()
    with pytest.raises(TimeoutError):
        ask(caller, b"inside", _PATIENCE_S)
    assert echo.heard == b"before"
    line.heal()

    caller.settimeout(10)
    assert caller.recv(6) == b"inside"
    assert ask(caller, b"after") == b"after"


def test_what_a_caller_said_that_has_gone_arrives_after_the_black_hole(
    echo: Echo, line: Proxy, caller: socket.socket
) -> None:
    ask(caller, b"before")

    line.black_hole()
    caller.sendall(b"late")
    caller.close()
    line.heal()

    until(lambda: echo.heard == b"beforelate")
    until(lambda: line.connections() == 0)


@pytest.mark.parametrize(("way", "heard"), [(Way.TO_SERVER, b"before"), (Way.TO_CLIENT, b"beforeinside")])
def test_a_black_hole_may_be_one_way(echo: Echo, line: Proxy, caller: socket.socket, way: Way, heard: bytes) -> None:
    ask(caller, b"before")

    line.black_hole(way)

    with pytest.raises(TimeoutError):
        ask(caller, b"inside", _PATIENCE_S)
    assert echo.heard == heard


def test_a_black_hole_may_spare_newcomers(line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")

    line.black_hole(newcomers=False)

    with pytest.raises(TimeoutError):
        ask(caller, b"inside", _PATIENCE_S)
    with closing(call(line)) as newcomer:
        assert ask(newcomer, b"hello") == b"hello"


def test_a_black_hole_swallows_newcomers_otherwise(line: Proxy) -> None:
    line.black_hole()

    with closing(call(line)) as newcomer, pytest.raises(TimeoutError):
        ask(newcomer, b"hello", _PATIENCE_S)


def test_a_black_hole_may_be_for_some_by_what_they_say(line: Proxy, caller: socket.socket) -> None:
    line.black_hole(which=saying(b"subscribe"))

    assert ask(caller, b"get") == b"get"
    with pytest.raises(TimeoutError):
        ask(caller, b"SUBSCRIBE", _PATIENCE_S)


def test_a_reset_is_felt_on_both_sides(echo: Echo, line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")

    assert line.reset() == 1

    caller.settimeout(10)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    until(lambda: echo.ends == ["reset"])
    with closing(call(line)) as newcomer:
        assert ask(newcomer, b"hello") == b"hello"


def test_a_half_open_line_is_gone_at_the_server_and_silent_at_the_client(
    echo: Echo, line: Proxy, caller: socket.socket
) -> None:
    ask(caller, b"before")

    assert line.half_open(saying(b"before")) == 1

    until(lambda: echo.ends)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            ask(caller, b"anybody there?", _PATIENCE_S / 3)
    line.heal()
    with pytest.raises(TimeoutError):
        ask(caller, b"and now?", _PATIENCE_S / 3)
    assert echo.heard == b"before"
    with closing(call(line)) as newcomer:
        assert ask(newcomer, b"hello") == b"hello"
    caller.close()
    until(lambda: line.connections() == 0)


def test_a_half_open_line_breaks_others_not(line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")

    assert line.half_open(saying(b"something else")) == 0

    assert ask(caller, b"after") == b"after"


def test_a_line_that_is_down_refuses_and_comes_back_where_it_was(line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")
    port = line.port

    line.down()
    caller.settimeout(10)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    with pytest.raises(ConnectionRefusedError):
        call(line)
    line.up()

    assert line.port == port
    with closing(call(line)) as newcomer:
        assert ask(newcomer, b"hello") == b"hello"


def test_a_server_that_is_down_is_a_broken_line_and_no_silence(echo: Echo, line: Proxy) -> None:
    echo.close()
    echo.join(10)

    # It may be felt while connecting already.
    with pytest.raises(ConnectionResetError):
        hear(line)

    until(lambda: line.connections() == 0)


@pytest.mark.parametrize(
    ("command", "answered"),
    [("black-hole to-client", False), ("black-hole old", False), ("half-open", False), ("latency 1", True)],
)
def test_the_program_does_what_its_input_says(echo: Echo, command: str, answered: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.proxy", f"127.0.0.1:{echo.port}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        with closing(socket.create_connection(("127.0.0.1", int(program.stdout.readline())), timeout=10)) as caller:
            assert ask(caller, b"before") == b"before"
            program.stdin.write(f"{command}\n")
            program.stdin.flush()

            assert program.stdout.readline() == "ok\n"

            if answered:
                assert ask(caller, b"after") == b"after"
            else:
                with pytest.raises(TimeoutError):
                    ask(caller, b"after", _PATIENCE_S)
        program.stdin.close()
        assert program.wait(20) == 0


def test_a_command_can_spare_newcomers_and_one_way(echo: Echo, line: Proxy, caller: socket.socket) -> None:
    ask(caller, b"before")

    obey(line, "black-hole to-client old\n")

    with pytest.raises(TimeoutError):
        ask(caller, b"inside", _PATIENCE_S)
    assert echo.heard == b"beforeinside"
    with closing(call(line)) as newcomer:
        assert ask(newcomer, b"hello") == b"hello"


def test_a_command_that_is_not_known_is_refused(line: Proxy) -> None:
    with pytest.raises(ValueError, match="not known: explode"):
        obey(line, "explode\n")
