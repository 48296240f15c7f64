"""Programs that are to run: started, started again with a growing pause when they die, ended in order.

One thread and no polling: signals, deaths of children among them, wake the loop. Linux only.
"""

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Final, Protocol, Self

_PR_SET_PDEATHSIG: Final = 1
# Between fork and exec nothing may be loaded: another thread's lock could be held for ever.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

MISCONFIGURED: Final = 2
"""The exit status of a program whose settings make no sense: starting it again cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a program that died is left alone, in seconds: doubling, until it has once lived for `settled_s`.

    After such a life it is not left alone at all: what worked will work again.
    """

    first_s: float = 1.0
    most_s: float = 10.0
    settled_s: float = 10.0

    def pause_s(self, last_s: float | None, lived_s: float) -> float:
        """The pause after a life of `lived_s`, when the pause before that life was `last_s` (None: there was none)."""
        if lived_s >= self.settled_s:
            return 0.0
        return min(2 * last_s, self.most_s) if last_s else self.first_s


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """How it ended, None while it lives."""

    def wait(self) -> int:
        """How it ended, once it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run.

    `orphaned` is the signal it gets when we are killed; `passed` are file descriptors it inherits under their
    numbers; `stdin` is all that it can read there.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    orphaned: signal.Signals = signal.SIGKILL
    passed: tuple[int, ...] = ()
    stdin: bytes = b""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that Ctrl-C in the terminal reaches only us; it says all on stderr.

        To be called in the main thread: the kernel takes the end of the thread that forks for the parent's.

        Raises: OSError.
        """
        parent = os.getpid()

        def tie() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(self.orphaned), 0, 0, 0)
            # Killed before that call: nobody would ever tell this process.
            if os.getppid() != parent:
                os._exit(1)

        # A file in memory takes all at once, whether or not the program ever reads it.
        with os.fdopen(os.memfd_create("stdin"), "wb+") as stdin:
            stdin.write(self.stdin)
            stdin.seek(0)
            return subprocess.Popen(  # noqa: S603 - the commands are ours
                list(self.command),
                env=dict(self.environ),
                stdin=stdin,
                stdout=2,
                pass_fds=self.passed,
                start_new_session=True,
                preexec_fn=tie,  # noqa: PLW1509 - it only makes two system calls, and this process has one thread
            )


@dataclass(slots=True, kw_only=True)
class Child:
    """A program that is to run, with its present life or the time of its next one, on the caller's clock."""

    name: str
    start: Callable[[], Process]
    backoff: Backoff = field(default_factory=Backoff)
    process: Process | None = None
    status: int | None = None
    """How its last life ended, as `subprocess.Popen.returncode`."""
    due: float | None = 0.0
    """When to start it; None while it runs, or when it is not to run any more."""
    _born: float = 0.0
    _pause_s: float | None = None

    def died(self, now: float) -> bool:
        """Whether it has died since last asked; if so, `due` says when it is to start again."""
        status = None if self.process is None else self.process.poll()
        if status is None:
            return False
        self._pause_s = self.backoff.pause_s(self._pause_s, now - self._born)
        self.process, self.status, self.due = None, status, now + self._pause_s
        return True

    def start_if_due(self, now: float) -> None:
        """Start it when its time has come."""
        if self.due is not None and now >= self.due:
            self.process, self.due, self._born = self.start(), None, now


class Misconfigured(Exception):
    """A program says that it cannot run as it is configured; it has said why on stderr. `name` is the program's."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} cannot run with these settings; it says why above")
        self.name = name


class Stopped(Exception):
    """We were asked to stop before what was waited for came true."""


class Supervisor:
    """Keeps children running. To be used in a `with` statement in the main thread, whose signals it takes."""

    def __init__(self, *, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._children: list[Child] = []
        self._requests = 0
        self._bell, self._ringer = socket.socketpair()
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}
        self._before_fd = -1

    def __enter__(self) -> Self:
        for end in (self._bell, self._ringer):
            end.settimeout(0)
        self._before_fd = signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        # Ignored under nohup, and it shall stay so.
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._asked)
        # Any handler will do: without one the kernel would not wake us.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill(self._children)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._bell.close()
        self._ringer.close()

    @property
    def hurried(self) -> bool:
        """Whether we were asked to stop more than once."""
        return self._requests > 1

    def keep(self, children: Iterable[Child]) -> None:
        """Take these into care; `watch` starts them."""
        self._children.extend(children)

    def watch(self, until: Callable[[], bool], *, every_s: float) -> None:
        """Start children, and start them again when they die, until the condition holds; it is asked every so often.

        Raises: Misconfigured; Stopped when we are asked to stop; OSError when a program cannot be started.
        """
        while not self._requests:
            self._tend()
            if until():
                return
            self._sleep(every_s)
        raise Stopped

    def watch_forever(self) -> None:
        """Start children, and start them again when they die, until we are asked to stop.

        Raises: Misconfigured; OSError when a program cannot be started.
        """
        while not self._requests:
            self._tend()
            self._sleep(None)

    def end(self, children: Sequence[Child], *, grace_s: float) -> None:
        """Ask these to end and wait; kill them after `grace_s`, or when we are asked to stop once more."""
        deadline = self._clock() + grace_s
        for child in children:
            child.due = None
            if child.process is not None:
                # Not reaped yet, so the number is still its own, even if it is dead.
                os.kill(child.process.pid, signal.SIGTERM)
        while (left := deadline - self._clock()) > 0 and not self.hurried:
            for child in children:
                child.died(self._clock())
                child.due = None
            if not any(child.process for child in children):
                return
            self._sleep(left)
        self._kill(children)

    def _tend(self) -> None:
        now = self._clock()
        for child in self._children:
            if child.died(now):
                if child.status == MISCONFIGURED:
                    raise Misconfigured(child.name)
                assert child.due is not None
                pause_s = child.due - now
                again = f"in {pause_s:g} s" if pause_s else "at once"
                self._say(f"{child.name} {_ending(child.status)}; it starts again {again}")
            child.start_if_due(now)

    def _sleep(self, longest_s: float | None) -> None:
        now = self._clock()
        waits = [max(0.0, child.due - now) for child in self._children if child.due is not None]
        if longest_s is not None:
            waits.append(longest_s)
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            if selector.select(min(waits, default=None)):
                self._bell.recv(4096)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._requests += 1

    @staticmethod
    def _kill(children: Sequence[Child]) -> None:
        living = [child.process for child in children if child.process is not None]
        for process in living:
            # Its own children go with it.
            os.killpg(process.pid, signal.SIGKILL)
        for child in children:
            if child.process is not None:
                child.process.wait()
            child.process = child.due = None


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
