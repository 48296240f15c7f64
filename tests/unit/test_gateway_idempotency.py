"""The same request sent again, with its key, is the same job."""

import asyncio
from typing import Any

import pytest

from gateway.idempotency import Idempotency
from gateway.schemas import JobOptions
from shared.errors import BadRequest
from tests.support.gateways import PAYLOAD, PICTURE, Gateway, a_gateway, work
from tests.support.jobs import a_failure
from tests.support.pictures import a_png
from tests.support.waiting import eventually

KEY = {"Idempotency-Key": "order-7"}
ASYNC = {"Prefer": "respond-async"}


async def _post(gateway: Gateway, path: str = "/v1/jobs", headers: dict[str, str] = KEY, **fields: Any) -> Any:
    return await gateway.client.post(path, json={**PAYLOAD, **fields}, headers=headers)


@pytest.mark.parametrize("path", ["/v1/jobs", "/predict"])
async def test_a_submission_sent_again_is_the_same_job(path: str) -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway, path, {**KEY, **ASYNC})
        again = await _post(gateway, path, {**KEY, **ASYNC})
        work(gateway.store)
        nothing_else = gateway.store.claim("w1") is None

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert nothing_else


async def test_a_picture_sent_raw_or_as_base64_is_the_same_picture() -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway)
        headers = {**KEY, "Content-Type": "image/png"}
        again = await gateway.client.post("/v1/jobs", content=PICTURE, headers=headers)

    assert again.json()["id"] == first.json()["id"]


async def test_once_it_has_ended_the_answer_comes_at_once() -> None:
    async with a_gateway() as gateway:
        job = (await _post(gateway)).json()
        work(gateway.store)
        again = await _post(gateway, "/predict")

    assert again.status_code == 200
    assert again.headers["Content-Location"] == f"/v1/jobs/{job['id']}"
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_a_failure_is_given_again_with_its_status() -> None:
    async with a_gateway() as gateway:
        await _post(gateway)
        work(gateway.store, a_failure())
        again = await _post(gateway, "/predict")

    assert (again.status_code, again.json()["code"]) == (422, a_failure().code)
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_while_it_lives_the_second_request_waits_for_the_first_s_job() -> None:
    async with a_gateway() as gateway:
        job = (await _post(gateway)).json()
        waiting = asyncio.create_task(_post(gateway, "/predict"))

        async def held() -> bool:
            return len(gateway.waiters) == 1

        await eventually(held)
        work(gateway.store)
        answer = await waiting

    assert answer.status_code == 200
    assert answer.headers["Content-Location"] == f"/v1/jobs/{job['id']}"


async def test_a_key_whose_job_was_erased_is_gone() -> None:
    async with a_gateway() as gateway:
        job = (await _post(gateway)).json()
        await gateway.client.delete(f"/v1/jobs/{job['id']}")
        again = await _post(gateway)

    assert (again.status_code, again.json()["code"]) == (410, "job-expired")
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_of_the_two_zeros_a_threshold_has_one() -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway, confidence_threshold=0.0)
        again = await _post(gateway, confidence_threshold=-0.0)

    assert again.json()["id"] == first.json()["id"]


async def test_blanks_around_a_key_are_none_of_it() -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway, headers={"Idempotency-Key": "a b"})
        again = await _post(gateway, headers={"Idempotency-Key": " a b\t"})

    assert again.json()["id"] == first.json()["id"]


async def test_the_document_tells_of_one_key_as_text() -> None:
    async with a_gateway() as gateway:
        paths = (await gateway.client.get("/openapi.json")).json()["paths"]

    for path in ("/predict", "/v1/jobs"):
        (key,) = [given for given in paths[path]["post"]["parameters"] if given["name"] == "Idempotency-Key"]
        assert {kind.get("type") for kind in key["schema"]["anyOf"]} == {"string", "null"}


@pytest.mark.parametrize("path", ["/v1/jobs", "/predict"])
@pytest.mark.parametrize(
    "other",
    [{"confidence_threshold": 0.25}, {"image_base64": "R0lGODlhAQABAAAAACwAAAAAAQABAAA="}],
    ids=["threshold", "picture"],
)
async def test_the_key_with_another_request_is_refused(path: str, other: dict[str, Any]) -> None:
    async with a_gateway() as gateway:
        await _post(gateway)
        answer = await _post(gateway, path, **other)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


async def test_the_key_with_another_model_is_refused() -> None:
    async with a_gateway() as gateway:
        await _post(gateway)
        answer = await _post(gateway, model="mock")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


async def test_what_does_not_change_the_answer_may_differ() -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway)
        again = await _post(gateway, metadata={"try": 2}, priority="high", top_k=1)

    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    "header", ["a", "a b", '"a"', "x" * 255, '"a\\"b"', "{}", "8e03978e-40d5-43dd-bc93-6894a57f9324"]
)
async def test_a_key_is_any_visible_text(header: str) -> None:
    async with a_gateway() as gateway:
        answer = await _post(gateway, headers={"Idempotency-Key": header})

    assert answer.status_code == 202


async def test_quoted_or_bare_it_is_the_same_key() -> None:
    async with a_gateway() as gateway:
        first = await _post(gateway, headers={"Idempotency-Key": 'or"der'})
        again = await _post(gateway, headers={"Idempotency-Key": '"or\\"der"'})

    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("header", ["", " ", '""', "x" * 256, "tab\tin", "caf\xe9", '" a"'])
async def test_what_is_no_key_is_refused(header: str) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post(
            "/v1/jobs", json=PAYLOAD, headers=[(b"Idempotency-Key", header.encode("latin-1"))]
        )

    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    assert not header.strip('" ') or header not in answer.text


async def test_two_keys_are_none() -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post(
            "/v1/jobs", json=PAYLOAD, headers=[(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")]
        )

    assert answer.status_code == 400


def test_fingerprints_differ_where_what_is_asked_for_does() -> None:
    key = Idempotency(["k"], {})
    asked = [
        (PICTURE, JobOptions()),
        (a_png(5, 3), JobOptions()),
        (PICTURE, JobOptions(confidence_threshold=0.6)),
        (PICTURE, JobOptions(model="mock")),
        (PICTURE, JobOptions(version="mock")),
    ]

    onces = [key.once(image, options) for image, options in asked]

    assert len({once.fingerprint for once in onces if once}) == len(asked)
    assert len({once.key for once in onces if once}) == 1
    assert "k" not in {once.key for once in onces if once}


def test_without_a_key_there_is_nothing_to_remember() -> None:
    assert Idempotency([], {}).once(PICTURE, JobOptions()) is None
    with pytest.raises(BadRequest):
        Idempotency(["\x7f"], {})
