"""The profile `tls` in real containers, with a stand-in for the image `caddy:2-alpine`.

The stand-in has the program that the tests have at hand, with the capability that the image gives to its file, and is
started in the same way. It brings no `wget`, so its health is asked for with Python.
"""

import json
import shutil
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.e2e.stacks import Stack, a_stack, inspect, tried_in
from tests.support.redis_server import free_port

# Building the images for the first time may be part of it.
pytestmark = pytest.mark.timeout(900)

CADDY: Final = Path(sys.executable).with_name("caddy")

# Of version 2, effective, and no more than NET_BIND_SERVICE: what `setcap cap_net_bind_service=+ep` writes.
STAND_IN: Final = """
FROM python:3.11-slim
COPY --chmod=0755 caddy /usr/bin/caddy
RUN python -c 'import os, struct; \\
    os.setxattr("/usr/bin/caddy", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))'
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""

ASK: Final = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:2020', timeout=4)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A stack with Caddy in front, and where that serves HTTP and HTTPS."""

    stack: Stack
    http: str
    https: str

    @property
    def caddy(self) -> str:
        """Its container."""
        (container,) = self.stack.containers("caddy")
        return container

    def trust(self) -> ssl.SSLContext:
        """Trust in nobody but the authority that this Caddy made for itself."""
        root = tried_in(self.caddy, "cat", "/data/caddy/pki/authorities/local/root.crt").stdout
        return ssl.create_default_context(cadata=root)


def stood_in_for(stack: Stack, http: int, https: int) -> None:
    """Change the stack's file: another Caddy, and ports of the loopback."""
    image = stack.folder / "caddy"
    image.mkdir()
    shutil.copy(CADDY, image)
    (image / "Dockerfile").write_text(STAND_IN)
    plan: dict[str, Any] = json.loads(stack.compose("--profile", "tls", "config", "--format", "json"))
    caddy = plan["services"]["caddy"]
    assert caddy.pop("image") == "caddy:2-alpine"
    caddy["build"] = {"context": str(image)}
    assert [port["target"] for port in caddy["ports"]] == [80, 443, 443]
    caddy["ports"] = [f"127.0.0.1:{http}:80", f"127.0.0.1:{https}:443"]
    assert caddy["healthcheck"]["test"][-1] in ASK.replace("'", " ").split()
    caddy["healthcheck"]["test"] = ["CMD", "python", "-c", ASK]
    (stack.folder / "docker-compose.yml").write_text(json.dumps(plan))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with a_stack(tmp_path_factory.mktemp("tls")) as stack:
        http, https = free_port(), free_port()
        stood_in_for(stack, http, https)
        # It is mounted as it is, and Caddy runs as somebody else than its owner.
        (stack.folder / "deploy" / "Caddyfile").chmod(0o644)
        stack.up(workers=1, COMPOSE_PROFILES="tls")
        yield Front(stack=stack, http=f"http://localhost:{http}", https=f"https://localhost:{https}")


def test_caddy_is_healthy_and_serves_the_gateway_over_https(front: Front) -> None:
    answer = httpx2.get(f"{front.https}/v1/status", headers={"X-API-Key": front.stack.key}, verify=front.trust())

    assert answer.status_code == 200
    assert len(answer.json()["workers"]) == 1
    assert httpx2.get(f"{front.https}/v1/status", verify=front.trust()).status_code == 401
    assert front.stack.health("caddy") == ["healthy"]


def test_plain_http_is_sent_on_to_https(front: Front) -> None:
    answer = httpx2.get(f"{front.http}/v1/status")

    assert answer.status_code == 308
    assert answer.headers["location"] == "https://localhost/v1/status"


def test_caddy_is_shut_tight_and_owns_what_it_keeps(front: Front) -> None:
    status = tried_in(front.caddy, "cat", "/proc/1/status").stdout
    owners = tried_in(front.caddy, "stat", "-c", "%u:%g", "/data", "/config").stdout.split()

    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "NoNewPrivs:\t1" in status
    assert owners == ["10001:10001", "10001:10001"]
    assert "Read-only file system" in tried_in(front.caddy, "touch", "/x").stdout
    networks = inspect(front.caddy)["NetworkSettings"]["Networks"]
    assert [name.rpartition("_")[2] for name in networks] == ["outside"]


def test_the_certificate_outlives_the_container(front: Front) -> None:
    container, authority = front.caddy, front.trust().get_ca_certs()

    front.stack.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "caddy", COMPOSE_PROFILES="tls")

    assert front.caddy != container
    assert front.trust().get_ca_certs() == authority
