"""Compose projects of the suite's own on a real engine, each from a copy of the repository."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from darkroom import AsyncClient
from tests.support.programs import ROOT
from tests.support.redis_server import free_port

SERVERS: Final = ("redis", "gateway", "worker")

_ADVICE: Final = (
    "No Docker engine with Compose v2 answers (`docker info`, `docker compose version`): "
    "start one, or point DOCKER_HOST at one."
)

_THEIR_OWN: Final = 0o700


class NoEngine(Exception):
    """There is no engine to try containers on; the message tells what to do."""


class CommandFailed(Exception):
    """A command of docker failed; the message is all that it said."""


def require_engine() -> None:
    """Return where an engine and Compose v2 answer.

    Raises: NoEngine.
    """
    for command in (("docker", "info"), ("docker", "compose", "version")):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoEngine(_ADVICE) from error


def docker(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """What the docker command says on stdout.

    Raises: CommandFailed.
    """
    done = subprocess.run(("docker", *command), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"docker {' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def combined(*command: str, cwd: Path, env: dict[str, str]) -> str:
    """What a command says on stdout and stderr.

    Raises: CommandFailed.
    """
    both = subprocess.STDOUT
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=both, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class Stack:
    """Darkroom in containers, under a project's name and on a port that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"darkroom-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        _copy(folder)
        theirs = {
            name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "COMPOSE_", "X_API"))
        }
        self.environ = {**theirs, "COMPOSE_PROJECT_NAME": self.project, "DARKROOM_PORT": str(self.port)}

    def compose(self, *command: str, **environ: str) -> str:
        """What `docker compose` says on stdout.

        Raises: CommandFailed.
        """
        return docker("compose", *command, cwd=self.folder, env={**self.environ, **environ})

    def up(self, *, workers: int = 4, **environ: str) -> None:
        """Start everything, and return when all of it is healthy."""
        self.compose("up", "--build", "--detach", "--wait", "--quiet-pull", "--scale", f"worker={workers}", **environ)

    def build(self) -> str:
        """Build, and tell what the builder did."""
        environ = {**self.environ, "BUILDKIT_PROGRESS": "plain"}
        return combined("docker", "compose", "build", cwd=self.folder, env=environ)

    def remove(self) -> None:
        """Leave nothing of it behind."""
        everything = ("--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local")
        self.compose(*everything, "--timeout", "5")

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers that run."""
        return self.compose("ps", "--quiet", service).split()

    def image(self, service: str) -> str:
        """The image that a service is built to."""
        return f"{self.project}-{service}"

    def health(self, service: str) -> list[str]:
        """How the engine says that a service's containers are."""
        return [str(inspect(container)["State"]["Health"]["Status"]) for container in self.containers(service)]

    @property
    def key(self) -> str:
        """The first key, as the gateway has it just now."""
        return self.compose("exec", "-T", "gateway", "cat", "/secrets/key").strip()

    def client(self) -> AsyncClient:
        """A client with the key."""
        return AsyncClient(self.url, key=self.key)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """The answer to a bare request."""
        return httpx2.get(f"{self.url}{path}", headers=headers, timeout=10)


def inspect(container: str) -> dict[str, Any]:
    """All that the engine knows of a container or an image."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]


def tried_in(container: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command carried out inside of a container, however it ended."""
    both = subprocess.STDOUT
    return subprocess.run(
        ("docker", "exec", container, *command), stdout=subprocess.PIPE, stderr=both, text=True, check=False
    )


@contextmanager
def a_stack(folder: Path) -> Iterator[Stack]:
    """A project that is not started yet, and is gone afterwards."""
    stack = Stack(folder)
    try:
        yield stack
    finally:
        stack.remove()


def _copy(folder: Path) -> None:
    """What a clone would have, with what is not committed yet, of somebody whose files nobody else may read."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode & _THEIR_OWN)
