"""`python -m deploy.init FOLDER`: make the secrets that the containers start with, where there are none yet.

Below the folder each service has its own: what it may read, and nothing else.

    redis/users.acl        Redis's users, with the hashes of their passwords
    redis/health           the password of Redis's health check
    gateway/redis-url      where the gateway finds Redis, with its user and password
    gateway/key            the first key
    worker/redis-url       the same for the workers

The URLs and the health check's password are the truth, and `users.acl` is derived from them on every run. Redis
reads it when it starts, and only then: a run that writes other users into it says so.
"""

import argparse
import fcntl
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

REDIS: Final = "redis:6379/0"
"""Redis as the other services call it."""

# Every key and every channel; what reads or changes the server itself is for nobody.
_WORK: Final = "~* &* +@all -@admin -@dangerous +info"

_VISIBLE: Final = re.compile(r"[!-~]+")

# Redis runs as another user and is let in by the group.
_MODE: Final = 0o640


class Unusable(Exception):
    """The secrets cannot be made or used as they are; the message is one sentence for whoever starts the containers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The first key, and whether Redis had other users before: one that runs keeps those until it is restarted."""

    key: str
    users_changed: bool


def prepare(folder: Path) -> Prepared:
    """Make what is absent in `folder`, keep what is there, complete what an earlier run left half finished.

    Raises: Unusable.
    """
    try:
        with _alone_in(folder):
            gateway = _kept(folder / "gateway" / "redis-url", lambda: _url("gateway"))
            worker = _kept(folder / "worker" / "redis-url", lambda: _url("worker"))
            health = _kept(folder / "redis" / "health", _password)
            acl = folder / "redis" / "users.acl"
            users = _users(gateway=gateway, worker=worker, health=health)
            before = _text(acl)
            if before != users:
                _write(acl, users)
            key = _kept(folder / "gateway" / "key", lambda: f"dk_{_password()}")
            if not _VISIBLE.fullmatch(key):
                raise Unusable(f"{folder / 'gateway' / 'key'} holds no key: a key is visible ASCII without spaces.")
            return Prepared(key=key, users_changed=before not in {"", users})
    except OSError as error:
        raise Unusable(f"{error.filename or folder}: {error.strerror}.") from error


def _users(*, gateway: str, worker: str, health: str) -> str:
    rights = {
        "gateway": (_password_in(gateway, user="gateway"), _WORK),
        "worker": (_password_in(worker, user="worker"), _WORK),
        "health": (health, "+ping"),
    }
    lines = (
        f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} {allowed}\n"
        for user, (password, allowed) in rights.items()
    )
    # Nobody can be this user; but Redis replays its append-only file as this user, and with its rights.
    return "user default off ~* &* +@all\n" + "".join(lines)


def _password() -> str:
    return secrets.token_urlsafe(32)


def _url(user: str) -> str:
    return f"redis://{user}:{_password()}@{REDIS}"


def _password_in(url: str, *, user: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.username != user or not parts.password:
        raise Unusable(f"The redis-url of {user} holds no password of this user; delete the file and it is made anew.")
    return unquote(parts.password)


def _kept(path: Path, make: Callable[[], str]) -> str:
    there = _text(path).strip()
    if not there:
        there = make()
        _write(path, f"{there}\n")
    return there


def _text(path: Path) -> str:
    # What is no text is not what belongs there, whatever it is.
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    # Whole or not at all, even if the machine goes down: a name is given only to what has reached the disk.
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, _MODE)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    with _opened(path.parent) as parent:
        os.fsync(parent)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    # Volumes are shared, the folder they are mounted below is not: the lock is taken in one of them.
    with _opened(folder / "redis") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the secrets, show the key, tell of new users. Exits with 1 and one sentence where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m deploy.init", description="Make Darkroom's secrets.")
    parser.add_argument("folder", type=Path, help="the folder that holds redis/, gateway/ and worker/")
    try:
        prepared = prepare(parser.parse_args(arguments).folder)
    except Unusable as unusable:
        sys.stderr.write(f"darkroom init: {unusable}\n")
        sys.exit(1)
    key = prepared.key
    url = f"http://127.0.0.1:{os.environ.get('DARKROOM_PORT') or 8000}"
    sys.stdout.write(
        f"The key: {key}\n"
        f"How it is: curl -H 'X-API-Key: {key}' {url}/v1/status\n"
        f"A picture: curl -H 'X-API-Key: {key}' -F image=@picture.jpg {url}/predict\n"
    )
    if prepared.users_changed:
        sys.stdout.write("Redis's users have changed: if it runs, docker compose restart redis\n")


if __name__ == "__main__":
    main()
