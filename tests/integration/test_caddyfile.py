"""HTTPS in front of a real gateway, by a real Caddy that reads the Caddyfile of the containers."""

import json
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

from gateway.config import GatewaySettings
from gateway.errors import MEDIA_TYPE, TABLE
from gateway.schemas import Problem
from tests.support.pictures import a_picture, encoded
from tests.support.programs import ROOT, Gateway, a_worker, running
from tests.support.redis_server import RedisServer, free_port
from tests.support.waiting import until

CADDYFILE = ROOT / "deploy" / "Caddyfile"
CADDY = Path(sys.executable).with_name("caddy")
KEY = "dk_test"
MIB = 1024 * 1024
PROTOCOLS = ("--http1.1", "--http2")
CUT_OFF = 18
"""Curl's exit status for an answer without its end."""

A_SECOND = 1_000_000_000
"""In nanoseconds, which is what Caddy counts in."""


def carried_out(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What `caddy` says and how it ends."""
    both = subprocess.STDOUT
    return subprocess.run((CADDY, *arguments), env=environ, stdout=subprocess.PIPE, stderr=both, text=True, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caddy:
    """A running Caddy: where it serves HTTP, HTTPS and its health, the authority that it made for itself, its log."""

    http: str
    https: str
    health: str
    authority: Path
    log: Path

    def get(self, url: str) -> httpx2.Response:
        return httpx2.get(url, headers={"X-API-Key": KEY}, verify=self.trust(), timeout=10)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def curl(self, path: str, *options: str, stdin: IO[bytes] | None = None) -> httpx2.Response:
        """The answer to what only curl can send: over HTTP/2, and with a body that takes its time."""
        headers = ("--header", f"X-API-Key: {KEY}", "--header", "Content-Type: image/png")
        told = subprocess.run(
            (
                "curl",
                "-sS",
                "--globoff",
                "--include",
                "--cacert",
                self.authority,
                *headers,
                *options,
                self.https + path,
            ),
            stdin=stdin,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        # What comes before the last status line only asked to go on.
        *_, head, body = re.split(rb"\r\n\r\n", told)
        status, *fields = head.decode().split("\r\n")
        pairs = [field.partition(": ") for field in fields]
        return httpx2.Response(
            int(status.split()[1]), headers=[(name, value) for name, _, value in pairs], content=body
        )


def adapted() -> dict[str, Any]:
    """The Caddyfile as Caddy understands it."""
    said = carried_out("adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile").stdout
    config: dict[str, Any] = json.loads(said[said.index('{"admin"') :])
    return config


def moved(upstream: str, ports: tuple[int, int, int], *, patience: dict[str, int]) -> str:
    """The same on other ports, before another gateway, and with other patience in nanoseconds by its name."""
    text = json.dumps(adapted(), separators=(",", ":"))
    for name, nanoseconds in patience.items():
        text, found = re.subn(rf'"{name}":\d+', f'"{name}":{nanoseconds}', text)
        assert found
    http, https, health = ports
    assert text.count(":443") == 1
    assert text.count("127.0.0.1:2020") == 1
    assert text.count("gateway:8000") == 1
    text = text.replace(":443", f"127.0.0.1:{https}").replace("127.0.0.1:2020", f"127.0.0.1:{health}")
    config = json.loads(text.replace("gateway:8000", upstream))
    config["apps"]["http"] |= {"http_port": http, "https_port": https}
    return json.dumps(config)


@contextmanager
def a_caddy(folder: Path, gateway: Gateway, **patience: int) -> Iterator[Caddy]:
    ports = (free_port(), free_port(), free_port())
    folder.mkdir()
    (folder / "caddy.json").write_text(moved(gateway.url.removeprefix("http://"), ports, patience=patience))
    command = (CADDY, "run", "--config", str(folder / "caddy.json"))
    with (folder / "log").open("wb") as log:
        environ = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    caddy = Caddy(
        http=f"http://localhost:{ports[0]}",
        https=f"https://localhost:{ports[1]}",
        health=f"http://127.0.0.1:{ports[2]}",
        authority=folder / "caddy" / "pki" / "authorities" / "local" / "root.crt",
        log=folder / "log",
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


def whole(ask: Callable[[], httpx2.Response]) -> httpx2.Response:
    """An answer that came to its end: one that is given early can be cut off, over HTTP/2, now and then."""

    def answer() -> httpx2.Response | None:
        try:
            return ask()
        except subprocess.CalledProcessError as error:
            if error.returncode != CUT_OFF:
                raise
            return None

    return until(answer, seconds=60, what="an answer to its end")


@pytest.fixture
def gateway(empty_redis: RedisServer, tmp_path: Path) -> Iterator[Gateway]:
    with running(Gateway(empty_redis.url, tmp_path / "gateway.log", X_API_KEY=KEY)) as gateway:
        yield gateway


@pytest.fixture
def caddy(gateway: Gateway, tmp_path: Path) -> Iterator[Caddy]:
    with a_caddy(tmp_path / "caddy", gateway) as caddy:
        yield caddy


def assert_problem(answer: httpx2.Response, code: str) -> Problem:
    """The answer is this problem, as the gateway itself would tell it."""
    problem, rule = Problem.model_validate_json(answer.content), TABLE[code]
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (answer.status_code, problem.code, problem.type) == (rule.status, code, f"/problems/{code}")
    assert (problem.status, problem.title, problem.retryable) == (rule.status, rule.title, rule.retryable)
    assert problem.request_id == answer.headers["x-request-id"]
    assert re.fullmatch(r"req_[a-z0-9-]{9,36}", problem.request_id)
    assert ("retry-after" in answer.headers) is rule.retryable
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return problem


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
    assert caddy.get(f"{caddy.https}/health/live").status_code == 503


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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_body_that_does_not_tell_how_large_it_is_is_read_up_to_a_limit(
    caddy: Caddy, tmp_path: Path, protocol: str
) -> None:
    (tmp_path / "body").write_bytes(bytes(17 * MIB))

    def answer() -> httpx2.Response:
        # From stdin: of a file curl tells the length.
        with (tmp_path / "body").open("rb") as body:
            return caddy.curl("/v1/jobs", protocol, "--request", "POST", "--upload-file", "-", stdin=body)

    problem = assert_problem(whole(answer), "payload-too-large")
    assert problem.instance == "/v1/jobs"
    assert problem.limit is not None
    assert problem.actual is not None
    assert GatewaySettings.model_fields["max_body_bytes"].default <= problem.limit < problem.actual


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_body_that_is_too_slow_is_told_so(gateway: Gateway, tmp_path: Path, protocol: str) -> None:
    (tmp_path / "body").write_bytes(encoded(a_picture(400, 400)))

    with a_caddy(tmp_path / "caddy", gateway, read_timeout=A_SECOND) as caddy:
        slowly = ("--limit-rate", "1k", "--data-binary", f"@{tmp_path / 'body'}")
        answer = whole(lambda: caddy.curl("/predict?confidence_threshold=0", protocol, *slowly))

    assert assert_problem(answer, "request-timeout").instance == "/predict"


def test_a_gateway_that_is_down_is_told_as_a_problem_that_passes(caddy: Caddy, gateway: Gateway) -> None:
    gateway.kill()

    for protocol in PROTOCOLS:
        problem = assert_problem(caddy.curl("/v1/status?x=1", protocol), "broker-unavailable")
        assert problem.instance == "/v1/status"


def test_a_gateway_that_never_answers_is_told_the_same_way(gateway: Gateway, tmp_path: Path) -> None:
    with a_caddy(tmp_path / "caddy", gateway, response_header_timeout=A_SECOND) as caddy:
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            answer = caddy.curl("/v1/status")
        finally:
            gateway.process.send_signal(signal.SIGCONT)

    assert_problem(answer, "broker-unavailable")


@pytest.mark.parametrize(
    "path", ["/v1/%22,%22code%22:%22x", '/"', "/%0A", "/%7Bhttp.request.header.X-Api-Key%7D", "/%C3%A9"]
)
def test_a_path_that_would_have_to_be_quoted_is_not_repeated(caddy: Caddy, gateway: Gateway, path: str) -> None:
    gateway.kill()

    problem = assert_problem(caddy.curl(path), "broker-unavailable")

    assert problem.instance == ""


def test_an_answered_error_stands_in_the_log_under_its_id_and_without_the_key(caddy: Caddy, gateway: Gateway) -> None:
    gateway.kill()

    problem = assert_problem(caddy.curl("/v1/status"), "broker-unavailable")

    log = caddy.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if problem.request_id.removeprefix("req_") in line]
    assert [line["status"] for line in lines] == [502]
    assert "connection refused" in lines[0]["msg"]
    assert KEY not in log


def test_no_log_of_caddys_holds_the_key() -> None:
    logs = adapted()["logging"]["logs"]

    assert {"default"} < set(logs)
    for log in logs.values():
        assert log["encoder"]["fields"] == {"request>headers>X-Api-Key": {"filter": "delete"}}


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


def number(name: str) -> int:
    """What the Caddyfile says of it, everywhere the same."""
    (said,) = set(re.findall(rf'"{name}": (\d+)', json.dumps(adapted())))
    return int(said)


def test_the_longest_wait_is_shorter_than_caddys_patience() -> None:
    assert number("response_header_timeout") / A_SECOND >= GatewaySettings.model_fields["max_wait_s"].default + 15


def test_caddy_lets_every_body_pass_that_the_gateway_takes() -> None:
    assert GatewaySettings.model_fields["max_body_bytes"].default < number("max_size") <= 17 * MIB


def test_caddys_limits_are_what_its_problems_say() -> None:
    said = CADDYFILE.read_text()

    assert f'"limit":{number("max_size")},"actual":{number("max_size") + 1}' in said
    assert f"at most {number('max_size') // MIB} MiB" in said
    assert f"within {number('read_timeout') // A_SECOND} s" in said
