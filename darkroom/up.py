"""`darkroom up`: gateways, workers and where needed a private Redis, kept running until told to stop."""

import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from darkroom.client import Client
from darkroom.cores import cores
from darkroom.embedded import EmbeddedRedis, NoServer, find_server
from darkroom.errors import DarkroomError
from darkroom.keys import KEY, KEY_FILE
from darkroom.processes import MISCONFIGURED, Child, Misconfigured, Program, Stopped, Supervisor

REDIS_URL: Final = "DARKROOM_REDIS_URL"
REDIS_URL_FILE: Final = "DARKROOM_REDIS_URL_FILE"

_PARTS: Final = {"gateway": ("fastapi", "uvicorn"), "worker": ("celery", "PIL")}
_KEYS: Final = (KEY, KEY_FILE)
_BACKLOG: Final = 2048
_GRACE_S: Final = 30.0
_GRACE_AFTER_A_FAULT_S: Final = 5.0
_PROBE_S: Final = 0.1
_ANSWER_S: Final = 1.0
_SILENCE_S: Final = 5.0
# The lock of an `up` that was killed is let go when its Redis has written everything.
_LOCK_PATIENCE_S: Final = 1.0

_UNUSABLE: Final = 2
_HURRIED: Final = 130


class Refused(Exception):
    """It cannot start as it was asked to; the message is one sentence for whoever asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What to run, on 127.0.0.1. Port 0 takes any that is free."""

    port: int = 8000
    workers: int | None = None
    """None: one per core."""
    gateways: int = 1
    data: Path = Path(".darkroom")
    """Where the private Redis keeps its data."""
    as_json: bool = False
    """Whether it says that it is ready as a line of JSON, `{"url": …}`."""
    gateway_command: Sequence[str] = (sys.executable, "-m", "gateway")
    worker_command: Sequence[str] = (sys.executable, "-m", "worker")


def up(stack: Stack, environ: Mapping[str, str]) -> int:
    """Run the stack until SIGINT or SIGTERM; says `ready <url>` on stdout once it can classify.

    Returns: an exit status, 0 after a stop in good order.
    """
    try:
        with ExitStack() as opened:
            listener = opened.enter_context(_listening(stack.port))
            redis = None
            if environ.get(REDIS_URL) or environ.get(REDIS_URL_FILE):
                _check(stack.gateway_command, environ)
            else:
                redis = opened.enter_context(_private_redis(stack.data, _without_keys(environ)))
            if any(environ.get(name) for name in _KEYS):
                _say(f"calls need the key of {' or '.join(_KEYS)}")
            supervisor = opened.enter_context(Supervisor(say=_say))
            return _Running(stack, listener, redis, environ, supervisor).run()
    except (Refused, NoServer, Misconfigured) as error:
        _say(str(error))
        return _UNUSABLE
    except OSError as error:
        _say(f"{error.filename}: {_reason(error)}" if error.filename else _reason(error))
        return _UNUSABLE


def refuse_missing_parts(present: Callable[[str], object] = importlib.util.find_spec) -> None:
    """See that what gateway and worker import is installed.

    Raises: Refused.
    """
    missing = [extra for extra, modules in _PARTS.items() if not all(map(present, modules))]
    if missing:
        raise Refused(f"the server's parts are not installed: pip install 'darkroom[{','.join(missing)}]'")


class _Running:
    """One run of a stack. `redis` is the program and whether it answers, None where there is one already."""

    def __init__(
        self,
        stack: Stack,
        listener: socket.socket,
        redis: "_PrivateRedis | None",
        environ: Mapping[str, str],
        supervisor: Supervisor,
    ) -> None:
        self._listener = listener
        self._redis = redis
        self._supervisor = supervisor
        self._reason: str | None = None
        self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._ready_line = json.dumps({"url": self._url}) if stack.as_json else f"ready {self._url}"
        inner = environ if redis is None else {**environ, REDIS_URL: redis.url}
        number = listener.fileno()
        self._gateways = [
            _child(
                Program(
                    name=f"gateway {count}",
                    command=(*stack.gateway_command, "--fd", str(number)),
                    environ=inner,
                    passed=(number,),
                )
            )
            for count in range(1, stack.gateways + 1)
        ]
        self._workers = [
            _child(
                Program(
                    name=f"worker {count}",
                    command=stack.worker_command,
                    environ={**_without_keys(inner), "DARKROOM_WORKER_PROCESSES": "1"},
                )
            )
            for count in range(1, (stack.workers or cores()) + 1)
        ]

    def run(self) -> int:
        """Start all, in order; stay; end all, in order."""
        grace_s = _GRACE_AFTER_A_FAULT_S
        try:
            self._start()
            self._supervisor.watch_forever()
            grace_s = _GRACE_S
        except Stopped:
            grace_s = _GRACE_S
        finally:
            self._end(grace_s)
        return _HURRIED if self._supervisor.hurried else 0

    def _start(self) -> None:
        if self._redis is not None:
            self._supervisor.keep([self._redis.child])
            self._supervisor.watch(self._redis.answers, every_s=_PROBE_S / 4)
        self._supervisor.keep([*self._gateways, *self._workers])
        with Client(self._url, timeout=_ANSWER_S) as client:
            self._supervisor.watch(partial(self._ready, client, time.monotonic() + _SILENCE_S), every_s=_PROBE_S)
        sys.stdout.write(f"{self._ready_line}\n")
        sys.stdout.flush()

    def _ready(self, client: Client, silent_until: float) -> bool:
        try:
            reason = client.unready()
        except DarkroomError as error:
            reason = str(error)
        # Starting takes a moment. What takes longer wants a word, once.
        if reason is not None and reason != self._reason and time.monotonic() > silent_until:
            _say(f"not ready yet: {reason}")
            self._reason = reason
        return reason is None

    def _end(self, grace_s: float) -> None:
        # Ours is one of the listening ends: while it is open, callers would wait for an answer that never comes.
        self._listener.close()
        for children in (self._gateways, self._workers, [self._redis.child] if self._redis else []):
            self._supervisor.end(children, grace_s=grace_s)


def _check(gateway: Sequence[str], environ: Mapping[str, str]) -> None:
    # A gateway looks at a Redis that is not ours before anything runs, so that its verdict is said once.
    verdict = subprocess.run(  # noqa: S603 - the command is ours
        [*gateway, "--check"], env=dict(environ), stderr=subprocess.PIPE, text=True, check=False
    )
    if verdict.returncode == MISCONFIGURED:
        raise Refused(verdict.stderr.strip().rpartition("\n")[2].removeprefix("darkroom gateway: "))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PrivateRedis:
    child: Child
    server: EmbeddedRedis

    @property
    def url(self) -> str:
        return self.server.url

    def answers(self) -> bool:
        if self.child.status is not None:
            raise Refused("the private Redis cannot start on its data; it says why above")
        return self.server.answers()


@contextmanager
def _private_redis(data: Path, environ: Mapping[str, str]) -> Iterator[_PrivateRedis]:
    server = find_server()
    folder = data.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder) as lock, EmbeddedRedis(server, folder) as redis:
        _say(f"data in {folder}")
        yield _PrivateRedis(child=_child(redis.program(environ, lock=lock)), server=redis)


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    except OSError as error:
        raise Refused(
            f"port {port} cannot be used ({_reason(error)}); choose another with --port or DARKROOM_PORT"
        ) from error
    with listener:
        yield listener


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _take(lock):
            if time.monotonic() > deadline:
                raise Refused(f"{folder} is in use by another `darkroom up`; choose another folder with --data")
            time.sleep(_PROBE_S / 4)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _without_keys(environ: Mapping[str, str]) -> Mapping[str, str]:
    # Only a gateway asks callers for a key.
    return {name: value for name, value in environ.items() if name not in _KEYS}


def _child(program: Program) -> Child:
    return Child(name=program.name, start=program.start)


def _reason(error: OSError) -> str:
    # Some of these carry whole explanations in `strerror`.
    return os.strerror(error.errno) if error.errno else str(error)


def _say(sentence: str) -> None:
    sys.stderr.write(f"darkroom up: {sentence}\n")
