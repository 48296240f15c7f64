"""With a key set, whoever has it may ask, and nobody else."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from structlog.testing import capture_logs

from gateway.auth import OPEN, Key, first_key
from gateway.config import GatewaySettings
from gateway.main import create_app
from shared.memory_store import MemoryStore
from shared.settings import InvalidVariable
from tests.support.gateways import PAYLOAD, a_gateway

KEY = "dk_s3cr3t-of-this-test"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"X-API-Key": f" {KEY}\t"},
        {"Authorization": f"Bearer {KEY} "},
        {"X-API-Key": KEY, "Host": "photos.example.org", "Origin": "https://photos.example.org"},
    ],
)
async def test_whoever_has_the_key_may_ask_from_anywhere(headers: dict[str, str]) -> None:
    async with a_gateway(key=KEY) as gateway:
        answer = await gateway.client.post("/v1/jobs", json=PAYLOAD, headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": f"{KEY}x"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": "\xe9" * 30},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY} {KEY}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
)
async def test_whoever_has_it_not_is_refused_before_anything_happens(headers: dict[str, str]) -> None:
    async with a_gateway(key=KEY) as gateway:
        with capture_logs() as lines:
            encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = await gateway.client.post("/v1/jobs", json=PAYLOAD, headers=encoded)
        nothing_queued = gateway.store.claim("w1") is None

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="darkroom"'
    assert answer.headers["Connection"] == "close"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert nothing_queued
    assert KEY not in answer.text + str(lines)
    assert [line["status"] for line in lines] == [401]


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method, context.path or "") for context in iter_route_contexts(app.routes) for method in context.methods or ()
    ]


async def test_every_route_but_health_needs_the_key() -> None:
    routes = _routes(create_app(GatewaySettings(), store=MemoryStore()))
    async with a_gateway(key=KEY) as gateway:
        answers = {
            (method, path): (await gateway.client.request(method, path)).status_code
            for method, path in [*routes, ("GET", "/nothing"), ("GET", "//health/live"), ("GET", "/health/live/")]
        }

    refused = {asked for asked, status in answers.items() if status == 401}
    assert len(routes) > 10
    assert set(answers) - refused == {("GET", path) for path in OPEN}


async def test_health_needs_no_key() -> None:
    async with a_gateway(key=KEY) as gateway:
        live = await gateway.client.get("/health/live", headers={"Host": "10.0.0.7:8000"})
        ready = await gateway.client.get("/health/ready")

    assert live.status_code == 200
    assert ready.json()["code"] == "no-workers"


async def test_the_document_tells_how_to_send_the_key() -> None:
    async with a_gateway(key=KEY) as gateway:
        document = (await gateway.client.get("/openapi.json", headers={"X-API-Key": KEY})).json()

    assert document["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"
    assert document["security"] == [{"ApiKey": []}, {"Bearer": []}, {}]
    assert all(document["paths"][path]["get"]["security"] == [] for path in OPEN)
    assert "401" in document["paths"]["/predict"]["post"]["responses"]


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr("gateway.auth.hmac.compare_digest", compare)

    assert Key.of(KEY).opens(KEY)
    assert not Key.of(KEY).opens("another, much longer one")
    assert {len(side) for pair in compared for side in pair} == {32}
    assert len(compared) == 2


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Key.of(KEY))
    assert KEY not in repr(GatewaySettings(api_key=KEY))  # type: ignore[arg-type]


def test_the_key_comes_from_a_variable_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")

    assert first_key(GatewaySettings()) is None
    assert first_key(GatewaySettings(api_key=KEY)) == Key.of(KEY)  # type: ignore[arg-type]
    assert first_key(GatewaySettings(api_key_file=file)) == Key.of(KEY)


@pytest.mark.parametrize("text", ["", "\n", "two words", "café", "tab\tin it", "line\nin it"])
def test_what_no_header_can_carry_is_no_key(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)

    with pytest.raises(InvalidVariable, match=r"^X_API_KEY: ") as plain:
        first_key(GatewaySettings(api_key=text))  # type: ignore[arg-type]
    with pytest.raises(InvalidVariable, match=r"^X_API_KEY_FILE: "):
        first_key(GatewaySettings(api_key_file=file))
    assert not text.strip() or text not in str(plain.value)


def test_a_key_twice_or_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidVariable, match="not both"):
        first_key(GatewaySettings(api_key=KEY, api_key_file=tmp_path))  # type: ignore[arg-type]
    with pytest.raises(InvalidVariable, match="X_API_KEY_FILE: the file cannot be read"):
        first_key(GatewaySettings(api_key_file=tmp_path / "nothing"))
