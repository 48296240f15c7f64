"""HTTPS in front of a real gateway, by a real Caddy that reads the Caddyfile of the containers."""

import json
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.config import GatewaySettings
from tests.support.pictures import a_picture, encoded
from tests.support.programs import ROOT, Gateway, a_worker, running
from tests.support.redis_server import RedisServer, free_port
from tests.support.waiting import until

CADDYFILE = ROOT / "deploy" / "Caddyfile"
CADDY = Path(sys.executable).with_name("caddy")
KEY = "dk_test"
MIB = 1024 * 1024


def carried_out(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What `caddy` says and how it ends."""
    both = subprocess.STDOUT
    return subprocess.run((CADDY, *arguments), env=environ, stdout=subprocess.PIPE, stderr=both, text=True, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caddy:
    """A running Caddy: where it serves HTTP, HTTPS and its health, and the authority that it made for itself."""

    http: str
    https: str
    health: str
    authority: Path

    def get(self, url: str) -> httpx2.Response:
        return httpx2.get(url, headers={"X-API-Key": KEY}, verify=self.trust(), timeout=10)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))


def moved(upstream: str, ports: tuple[int, int, int]) -> str:
    """The Caddyfile as Caddy understands it, on other ports and before another gateway."""
    adapted = carried_out("adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile")
    text = adapted.stdout[adapted.stdout.index('{"admin"') :]
    http, https, health = ports
    assert text.count(":443") == 1
    assert text.count("127.0.0.1:2020") == 1
    assert text.count("gateway:8000") == 1
    text = text.replace(":443", f"127.0.0.1:{https}").replace("127.0.0.1:2020", f"127.0.0.1:{health}")
    config = json.loads(text.replace("gateway:8000", upstream))
    config["apps"]["http"] |= {"http_port": http, "https_port": https}
    return json.dumps(config)


@contextmanager
def a_caddy(folder: Path, upstream: str) -> Iterator[Caddy]:
    ports = (free_port(), free_port(), free_port())
    folder.mkdir()
    (folder / "caddy.json").write_text(moved(upstream, ports))
    command = (CADDY, "run", "--config", str(folder / "caddy.json"))
    with (folder / "log").open("wb") as log:
        environ = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    caddy = Caddy(
        http=f"http://localhost:{ports[0]}",
        https=f"https://localhost:{ports[1]}",
        health=f"http://127.0.0.1:{ports[2]}",
        authority=folder / "caddy" / "pki" / "authorities" / "local" / "root.crt",
    )
    try:
        until(lambda: process.poll() is not None or answers(caddy), seconds=20, what=(folder / "log").read_text())
        yield caddy
    finally:
        process.terminate()
        process.wait(20)


def answers(caddy: Caddy) -> bool:
    try:
        return caddy.authority.exists() and caddy.get(f"{caddy.https}/health/live").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture
def gateway(empty_redis: RedisServer, tmp_path: Path) -> Iterator[Gateway]:
    with running(Gateway(empty_redis.url, tmp_path / "gateway.log", X_API_KEY=KEY)) as gateway:
        yield gateway


@pytest.fixture
def caddy(gateway: Gateway, tmp_path: Path) -> Iterator[Caddy]:
    with a_caddy(tmp_path / "caddy", gateway.url.removeprefix("http://")) as caddy:
        yield caddy


@pytest.mark.parametrize("domain", [{}, {"DARKROOM_DOMAIN": "pictures.example.org"}])
def test_the_file_is_valid(domain: dict[str, str], tmp_path: Path) -> None:
    told = carried_out("validate", "--config", str(CADDYFILE), "--adapter", "caddyfile", HOME=str(tmp_path), **domain)

    assert told.returncode == 0, told.stdout
    assert '"level":"warn"' not in told.stdout


def test_the_file_is_formatted(tmp_path: Path) -> None:
    copy = shutil.copy(CADDYFILE, tmp_path)

    assert carried_out("fmt", str(copy)).returncode == 0, f"caddy fmt --overwrite {CADDYFILE}"


def test_plain_http_is_sent_on_to_https(caddy: Caddy) -> None:
    answer = httpx2.get(f"{caddy.http}/v1/status", timeout=10)

    assert answer.status_code == 308
    assert answer.headers["location"].startswith("https://localhost")


def test_its_health_is_told_apart_from_the_gateways(caddy: Caddy, gateway: Gateway) -> None:
    gateway.kill()

    assert httpx2.get(caddy.health, timeout=10).status_code == 200
    assert caddy.get(f"{caddy.https}/health/live").status_code == 502


def test_the_key_passes_and_its_absence_is_the_gateways_to_refuse(caddy: Caddy) -> None:
    refused = httpx2.get(f"{caddy.https}/v1/status", verify=caddy.trust(), timeout=10)

    assert refused.json()["code"] == "unauthorized"
    assert caddy.get(f"{caddy.https}/v1/status").status_code == 200


def test_a_picture_is_classified_over_https(caddy: Caddy, empty_redis: RedisServer, tmp_path: Path) -> None:
    with running(a_worker(empty_redis.url, tmp_path / "worker.log")):
        answer = httpx2.post(
            f"{caddy.https}/predict",
            headers={"X-API-Key": KEY},
            files={"image": encoded(a_picture())},
            verify=caddy.trust(),
            timeout=30,
        )

    assert answer.status_code == 200
    assert answer.json()["latency_ms"] > 0


@pytest.mark.parametrize("size", [15 * MIB + 1, 17 * MIB], ids=["a little", "much"])
def test_a_body_too_large_is_refused_in_the_gateways_words(caddy: Caddy, size: int) -> None:
    answer = httpx2.post(
        f"{caddy.https}/v1/jobs",
        headers={"X-API-Key": KEY, "Content-Type": "image/png"},
        content=bytes(size),
        verify=caddy.trust(),
        timeout=30,
    )

    assert answer.status_code == 413
    assert answer.json()["code"] == "payload-too-large"


def test_a_request_that_is_held_passes(caddy: Caddy) -> None:
    started = time.monotonic()

    answer = httpx2.post(
        f"{caddy.https}/predict",
        headers={"X-API-Key": KEY, "Prefer": "wait=2", "Content-Type": "image/png"},
        content=encoded(a_picture()),
        verify=caddy.trust(),
        timeout=30,
    )

    assert answer.status_code == 202
    assert time.monotonic() - started >= 2


def test_the_longest_wait_is_shorter_than_caddys_patience(tmp_path: Path) -> None:
    config = carried_out("adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile", HOME=str(tmp_path)).stdout

    patience_ns = int(re.findall(r'"response_header_timeout":(\d+)', config)[0])

    assert patience_ns / 1e9 >= GatewaySettings.model_fields["max_wait_s"].default + 15


def test_caddy_lets_every_body_pass_that_the_gateway_takes(tmp_path: Path) -> None:
    config = carried_out("adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile", HOME=str(tmp_path)).stdout

    most = int(re.findall(r'"max_size":(\d+)', config)[0])

    assert GatewaySettings.model_fields["max_body_bytes"].default < most <= 17 * MIB
