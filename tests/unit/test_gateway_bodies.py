import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.payloads import MAX_SIDE
from tests.support.gateways import BASE64, PAYLOAD, PICTURE, Gateway, a_gateway
from tests.support.pictures import a_png

PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
BOUNDARY = "multipart/form-data; boundary=x"


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


async def refused(gateway: Gateway, path: str = "/predict", **request: object) -> tuple[int, str, list[str]]:
    """Status, code and pointers of a problem; fails where the answer is none."""
    answer = await gateway.client.post(path, **request)  # type: ignore[arg-type]
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    return answer.status_code, problem["code"], [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", "#"),
        (b"{", "#"),
        (b"null", "#"),
        (b"[]", "#"),
        (b"\xff", "#"),
        (b"[" * 100_000, "#"),
        (b'{"image_base64":' + b"[" * 5000, "#"),
        (b"{}", "#/image_base64"),
        (b'{"image_base64": 5}', "#/image_base64"),
        (b'{"image_base64": null}', "#/image_base64"),
        (b'{"image_base64": "\\ud800"}', "#"),
        (b'{"image_base64": "", "confidence_threshold": true}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": "0.5"}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": null}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": NaN}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": Infinity}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": 1e999}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": 1.0000001}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": -0.1}', "#/confidence_threshold"),
        (b'{"image_base64": "", "confidence_threshold": 0.5, "confidence_threshold": 2}', "#/confidence_threshold"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/v1/jobs"])
async def test_json_of_the_wrong_shape_is_told_by_pointers(path: str, body: bytes, pointer: str) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, path, content=body, headers=JSON)

    assert answer == (422, "validation-error", [pointer])


async def test_of_duplicate_keys_the_last_wins() -> None:
    body = f'{{"image_base64": 1, "confidence_threshold": 9, "image_base64": "{BASE64}", "confidence_threshold": 1}}'
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", content=body, headers=JSON)

    assert answer.status_code == 202
    assert answer.json()["confidence_threshold"] == 1


@pytest.mark.parametrize(
    ("image", "code", "status"),
    [
        ("", "invalid-image", 422),
        ("####", "invalid-base64", 422),
        ("AAAA", "unsupported-image-format", 415),
        ("é", "invalid-base64", 422),
        (base64.b64encode(a_png(MAX_SIDE + 1, 1)).decode(), "image-too-large", 413),
    ],
)
async def test_a_picture_that_is_none_is_refused_at_the_door(image: str, code: str, status: int) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, json={"image_base64": image})
        nothing_queued = gateway.store.claim("w1") is None

    assert answer == (status, code, [])
    assert nothing_queued


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx", "imag/png"]
)
@pytest.mark.parametrize("path", ["/predict", "/v1/jobs"])
async def test_other_content_types_are_refused(path: str, kind: str) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, path, content=json.dumps(PAYLOAD), headers={"Content-Type": kind})

    assert answer == (415, "unsupported-media-type", [])


async def test_a_body_without_content_type_is_refused() -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, content=PICTURE)

    assert answer == (415, "unsupported-media-type", [])


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with a_gateway(max_body_bytes=1000) as gateway:
        answer = await gateway.client.post("/predict", content=never(), headers={**PNG, "Content-Length": "1001"})

    assert answer.status_code == 413
    assert {"limit": 1000, "actual": 1001, "code": "payload-too-large"}.items() <= answer.json().items()


async def test_a_body_that_hides_its_size_is_counted() -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 400
            yield b"a" * 400

    async with a_gateway(max_body_bytes=1000) as gateway:
        answer = await gateway.client.post("/predict", content=chunks(), headers=PNG)

    assert answer.status_code == 413
    assert {"limit": 1000, "actual": 1200}.items() <= answer.json().items()
    assert sent <= 1600


async def test_a_body_that_comes_in_pieces_is_one_body() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(PICTURE), 7):
            yield PICTURE[start : start + 7]

    async with a_gateway(default_wait_s=0) as gateway:
        answer = await gateway.client.post("/predict", content=pieces(), headers=PNG)
        claim = gateway.store.claim("w1")

    assert answer.status_code == 202
    assert claim is not None
    assert claim.image == PICTURE


async def test_a_body_that_breaks_off_is_no_job_and_gives_its_room_back() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": PICTURE[:9], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"image/png")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    async with a_gateway(max_body_bytes=len(PICTURE), max_held_bytes=len(PICTURE)) as gateway:
        await gateway.app(scope, receive, send)
        nothing_queued = gateway.store.claim("w1") is None
        answer = await gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG)

    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["detail"] == "The request ended before its body."
    assert nothing_queued
    assert answer.status_code == 202


@pytest.mark.parametrize(("values", "status"), [(10_000, 202), (10_001, 422)])
async def test_so_many_values_may_be_sent_and_no_more(values: int, status: int) -> None:
    # As many commas: each of these values has one before it.
    body = f'{{"image_base64":"{BASE64}"{"".join(f",{chr(34)}a{chr(34)}:1" for _ in range(values))}}}'
    async with a_gateway(default_wait_s=0) as gateway:
        answer = await gateway.client.post("/predict", content=body, headers=JSON)

    assert answer.status_code == status


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with a_gateway(max_body_bytes=len(PICTURE), default_wait_s=0) as gateway:
        answer = await gateway.client.post("/predict", content=PICTURE, headers=PNG)

    assert answer.status_code == 202


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", BOUNDARY, f"{BOUNDARY}; charset=undefined"],
)
async def test_a_multipart_body_that_cannot_be_read_is_the_callers_fault(content_type: str) -> None:
    async with a_gateway() as gateway:
        for body in (b"", b"x", b"--x", b"--x\r\n", b"--x\r\n\r\n", b"--y\r\nab: c\r\n\r\n--y--", part("a", b"\xff")):
            answer = await gateway.client.post("/predict", content=body, headers={"Content-Type": content_type})

            assert answer.status_code in {400, 422}, body


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (part("other", b"a"), "#/image"),
        (part("image", PICTURE), "#/image"),
        (part("image", PICTURE, '; filename="a"') + part("confidence_threshold", b"nan"), "#/confidence_threshold"),
        (
            part("image", PICTURE, '; filename="a"') + part("confidence_threshold", b"1", '; filename="b"'),
            "#/confidence_threshold",
        ),
    ],
)
async def test_parts_of_the_wrong_shape_are_told_by_pointers(body: bytes, pointer: str) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, content=body + b"--x--\r\n", headers={"Content-Type": BOUNDARY})

    assert answer == (422, "validation-error", [pointer])


async def test_of_parts_with_the_same_name_the_last_wins() -> None:
    body = part("image", b"not a picture", '; filename="a"') + part("image", PICTURE, '; filename="b"')
    wait = {"Prefer": "wait=0"}
    async with a_gateway() as gateway:
        good = await gateway.client.post(
            "/predict", content=body + b"--x--\r\n", headers={"Content-Type": BOUNDARY, **wait}
        )
        bad = await gateway.client.post(
            "/predict",
            content=part("image", PICTURE, '; filename="b"') + part("image", b"x", '; filename="a"') + b"--x--\r\n",
            headers={"Content-Type": BOUNDARY, **wait},
        )

    assert (good.status_code, bad.status_code) == (202, 415)


async def test_too_many_parts_and_too_long_fields_are_refused() -> None:
    async with a_gateway() as gateway:
        for body in (part("a", b"b") * 1500, part("a", b"b", '; filename="c"') * 5, part("a", b"b" * 20_000)):
            answer = await refused(gateway, content=body + b"--x--\r\n", headers={"Content-Type": BOUNDARY})

            assert answer == (400, "bad-request", [])


async def test_what_is_not_there_yet_may_only_be_declined() -> None:
    async with a_gateway() as gateway:
        for name, wish in (("explain", True), ("webhook", {"url": "http://127.0.0.1"})):
            answer = await refused(gateway, "/v1/jobs", json={**PAYLOAD, name: wish})
            assert answer == (422, "validation-error", [f"#/{name}"])

        declined = await gateway.client.post("/v1/jobs", json={**PAYLOAD, "explain": False, "webhook": None})

    assert declined.status_code == 202


@pytest.mark.parametrize("path", ["/predict", "/v1/jobs"])
async def test_a_million_small_values_are_refused_before_anybody_counts_them(path: str) -> None:
    values = ",".join(f'"{number}":1' for number in range(200_000))
    body = f'{{"image_base64":"","metadata":{{"list":[{"1," * 200_000}1]}},{values}}}'
    async with a_gateway() as gateway:
        answer = await refused(gateway, path, content=body, headers={"Content-Type": "application/json"})

    assert answer == (422, "validation-error", ["#"])


async def test_of_very_many_faults_only_some_are_told() -> None:
    async with a_gateway() as gateway:
        odd = {f"odd{number}": 1 for number in range(4000)}
        response = await gateway.client.post("/v1/jobs", json={**PAYLOAD, **odd})

    assert response.status_code == 422
    assert len(response.json()["errors"]) == 20
    assert len(response.content) < 4096


@pytest.mark.parametrize(
    "request_of",
    [
        {"json": {**PAYLOAD, "colour": "green"}},
        {"json": PAYLOAD, "params": {"confidence_threshold": "0.5"}},
        {"content": PICTURE, "headers": PNG, "params": {"colour": "green"}},
        {"files": {"image": ("a", PICTURE)}, "params": {"top_k": "1", "other": "1"}},
        {"files": {"image": ("a", PICTURE)}, "data": {"top_k": "1"}},
    ],
)
async def test_what_v1_does_not_know_it_refuses(request_of: dict[str, object]) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, "/v1/jobs", **request_of)

    assert answer == (422, "validation-error", ["#"])


def nested(depth: int) -> object:
    return {"a": nested(depth - 1)} if depth > 1 else {}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"top_k": 0}, "#/top_k"),
        ({"top_k": True}, "#/top_k"),
        ({"top_k": "1"}, "#/top_k"),
        ({"model": 1}, "#/model"),
        ({"priority": "urgent"}, "#/priority"),
        ({"queue_ttl_s": 0}, "#/queue_ttl_s"),
        ({"queue_ttl_s": 86_401}, "#/queue_ttl_s"),
        ({"result_ttl_s": 1.5}, "#/result_ttl_s"),
        ({"metadata": []}, "#/metadata"),
        ({"metadata": {"a": "b" * 4096}}, "#/metadata"),
        ({"metadata": {"a": "é" * 2048}}, "#/metadata"),
        ({"metadata": nested(9)}, "#/metadata"),
        ({"metadata": {"a": [[[[[[[[]]]]]]]]}}, "#/metadata"),
        ({"metadata": {"a": float("nan")}}, "#/metadata"),
    ],
)
async def test_a_jobs_fields_have_limits(fields: dict[str, object], pointer: str) -> None:
    async with a_gateway() as gateway:
        body = json.dumps({**PAYLOAD, **fields})
        answer = await refused(gateway, "/v1/jobs", content=body, headers=JSON)

    assert answer == (422, "validation-error", [pointer])


@pytest.mark.parametrize(
    "metadata", [{}, nested(8), {"a": "b" * (4096 - len('{"a":""}'))}, {"é": [1, 2.5, None, True]}]
)
async def test_metadata_within_the_limits_come_back_as_they_went(metadata: object) -> None:
    async with a_gateway() as gateway:
        by_body = await gateway.submitted(metadata=metadata)
        by_query = await gateway.client.post(
            "/v1/jobs",
            content=PICTURE,
            headers=PNG,
            params={"metadata": json.dumps(metadata)},
        )

    assert by_body["metadata"] == metadata
    assert by_query.json()["metadata"] == metadata


@pytest.mark.parametrize("metadata", ["", "x", "[]", '{"a": NaN}', '{"a": 1e999}', '{"secret": '])
async def test_metadata_as_a_parameter_must_be_a_json_object(metadata: str) -> None:
    async with a_gateway() as gateway:
        answer = await refused(gateway, "/v1/jobs", content=PICTURE, headers=PNG, params={"metadata": metadata})

    assert answer == (422, "validation-error", ["#/metadata"])


async def test_parameters_beside_a_raw_body_are_the_jobs_fields() -> None:
    params = {
        "confidence_threshold": "0.25",
        "top_k": "2",
        "priority": "high",
        "queue_ttl_s": "60",
        "result_ttl_s": "90",
    }
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG, params={**params, "version": "1"})
        claim = gateway.store.claim("w1")

    assert answer.status_code == 202
    assert claim is not None
    spec = claim.spec
    assert (spec.confidence_threshold, spec.top_k, spec.priority.value) == (0.25, 2, "high")
    assert (spec.queue_ttl_ms, spec.result_ttl_ms, spec.model_version) == (60_000, 90_000, "1")


@pytest.mark.parametrize("secret", ["s3cr3t", "<script>"])
async def test_no_problem_repeats_what_the_caller_sent(secret: str) -> None:
    requests: list[dict[str, object]] = [
        {"json": {secret: secret, "metadata": {secret: {secret: object.__name__}}}},
        {"json": {**PAYLOAD, secret: secret}},
        {"json": {"image_base64": secret}},
        {"json": {**PAYLOAD, "confidence_threshold": secret, "priority": secret, "model": secret}},
        {"json": {**PAYLOAD, "model": secret}},
        {"json": {**PAYLOAD, "metadata": {secret: secret * 4096}}},
        {"content": f'{{"{secret}', "headers": JSON},
        {"content": PICTURE, "headers": PNG, "params": {secret: secret}},
        {"content": PICTURE, "headers": PNG, "params": {"top_k": secret, "metadata": secret}},
        {"content": secret, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"files": {secret: (secret, secret.encode())}, "params": {secret: secret}},
        {"content": secret, "headers": {"Content-Type": f"text/{secret.strip('<>')}"}},
    ]
    async with a_gateway() as gateway:
        answers = [await gateway.client.post("/v1/jobs", **request) for request in requests]  # type: ignore[arg-type]
        answers.append(
            await gateway.client.get("/v1/jobs", params={secret: secret, "status": secret, "cursor": secret})
        )
        answers.append(await gateway.client.get(f"/v1/jobs/x?wait={secret}"))

    assert {answer.status_code for answer in answers} <= {400, 404, 415, 422}
    assert not [answer.text for answer in answers if secret in answer.text]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(BASE64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(
    ["image_base64", "confidence_threshold", "metadata", "top_k", "model", "priority", "queue_ttl_s"]
)


@settings(max_examples=25, deadline=None)
@given(bodies=st.lists(st.dictionaries(known | st.text(max_size=5), anything, max_size=4), min_size=20, max_size=20))
def test_no_json_whatever_is_our_fault(bodies: list[object]) -> None:
    asyncio.run(post_all([(json.dumps(body).encode("utf-8", "surrogatepass"), "application/json") for body in bodies]))


@settings(max_examples=25, deadline=None)
@given(
    bodies=st.lists(
        st.tuples(
            st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: part("image", data, '; filename="a"')),
            st.sampled_from(["application/json", "image/png", BOUNDARY, f"{BOUNDARY}; charset=idna"]),
        ),
        min_size=20,
        max_size=20,
    ),
)
def test_no_bytes_whatever_are_our_fault(bodies: list[tuple[bytes, str]]) -> None:
    asyncio.run(post_all(bodies))


async def post_all(bodies: list[tuple[bytes, str]]) -> None:
    async with a_gateway(default_wait_s=0) as gateway:
        for body, kind in bodies:
            for path in ("/predict", "/v1/jobs"):
                answer = await gateway.client.post(path, content=body, headers={"Content-Type": kind})

                assert answer.status_code in {202, 400, 413, 415, 404, 422}, (body, kind, answer.text)
