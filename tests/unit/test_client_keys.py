"""The two keys of the clients: the one that opens the server, which nobody sees, and the one that names a request."""

import logging
import re
import traceback
from base64 import b64encode
from collections.abc import Callable

import httpx2
import pytest

from darkroom import (
    AsyncClient,
    Client,
    ConnectionLost,
    DarkroomError,
    InvalidKey,
    InvalidUrl,
    Unauthorized,
    UnexpectedAnswer,
)
from tests.support.answers import CARRIERS, URL, Carrier, a_classification, a_job, answer, refusal
from tests.support.stub_server import stub_server

KEY = "s3cret-key-of-the-test"

both = pytest.mark.parametrize("carry", CARRIERS)
both_kinds = pytest.mark.parametrize("kind", [Client, AsyncClient])


class Telling:
    """A server that keeps what it was sent, and answers or breaks as told."""

    def __init__(self, *answers: Callable[[], httpx2.Response] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request.headers["Idempotency-Key"])
        told = self.answers.pop(0)
        if isinstance(told, Exception):
            raise told
        return told()


def a_classified() -> httpx2.Response:
    return answer(200, a_classification(("Bird", 0.91)))


def a_submitted() -> httpx2.Response:
    return answer(202, a_job())


def a_busy() -> httpx2.Response:
    return refusal("queue-full", 503, retry_after="0")


@both
def test_the_same_call_has_one_idempotency_key_and_another_call_another(carry: Carrier) -> None:
    server = Telling(a_busy, a_busy, a_classified, a_submitted)

    carry(server, lambda client: client.classify(b"picture"))
    carry(server, lambda client: client.submit(b"picture"))

    first, *repeats, other = server.sent
    assert repeats == [first, first]
    assert other != first
    assert re.fullmatch('"[0-9a-f]{32}"', first)


@both
def test_the_callers_own_idempotency_key_is_sent_as_a_string(carry: Carrier) -> None:
    server = Telling(a_submitted, a_classified)

    carry(server, lambda client: client.submit(b"picture", idempotency_key="shelf 7, picture 12"))
    carry(server, lambda client: client.classify(b"picture", idempotency_key="x" * 255))

    assert server.sent == ['"shelf 7, picture 12"', f'"{"x" * 255}"']


@both
@pytest.mark.parametrize("key", ["", " x", "x ", "ü", "a\nb", "\x00", "x" * 256])
def test_an_idempotency_key_that_no_header_can_carry_is_refused_before_anything_is_sent(
    carry: Carrier, key: str
) -> None:
    with pytest.raises(InvalidKey, match="no idempotency key"):
        carry(Telling(), lambda client: client.submit(b"picture", idempotency_key=key))
    with pytest.raises(InvalidKey, match="no idempotency key"):
        carry(Telling(), lambda client: client.classify(b"picture", idempotency_key=key))


@both
def test_a_client_without_retries_sends_once(carry: Carrier) -> None:
    server = Telling(a_busy)

    with Client(URL, retries=0, transport=httpx2.MockTransport(server)) as client, pytest.raises(DarkroomError):
        client.submit(b"picture")

    assert len(server.sent) == 1


@both_kinds
@pytest.mark.parametrize("key", ["", " ", "two words", "tab\t", "new\nline", "ü", "\x7f", "x\r\nHost: elsewhere"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(
    kind: type[Client | AsyncClient], key: str
) -> None:
    with pytest.raises(InvalidKey) as raised:
        kind(key=key)

    assert isinstance(raised.value, ValueError)
    assert str(raised.value) == "This is no key: a key is visible ASCII without spaces, and not empty."


@both_kinds
@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(kind: type[Client | AsyncClient], timeout: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        kind(timeout=timeout)


@both_kinds
def test_fewer_retries_than_none_are_refused(kind: type[Client | AsyncClient]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        kind(retries=-1)


async def test_the_key_goes_with_every_request_and_opens() -> None:
    with stub_server(KEY) as url:
        with Client(url, key=KEY) as client:
            assert client.status().workers
            assert [outcome.error for outcome in client.classify_many([b"bird", b"bird"])] == [None, None]
        async with AsyncClient(url, key=KEY) as client:
            assert (await client.status()).workers
        with Client(url) as client, pytest.raises(Unauthorized):
            client.status()


def test_nothing_that_a_client_shows_or_logs_has_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []

    with stub_server(KEY) as url, Client(url, key=KEY) as client:
        client.submit(b"bird")
        with pytest.raises(DarkroomError) as refused:
            client.submit(b"bad")
        with pytest.raises(ConnectionLost) as lost:
            client.submit(b"hangs up")
        shown += [repr(client), repr(AsyncClient(url, key=KEY)), repr(vars(client))]
        for raised in (refused, lost):
            shown += [repr(raised.value), *traceback.format_exception(raised.value)]

    assert KEY not in "\n".join(shown)
    assert caplog.records
    assert KEY not in caplog.text


@both_kinds
def test_a_client_shows_where_it_is_without_the_password_of_its_url(kind: type[Client | AsyncClient]) -> None:
    client = kind("http://me:s3cret@darkroom.example:8000/")

    assert repr(client) == f"{kind.__name__}('http://darkroom.example:8000')"


def test_an_error_names_the_place_without_the_password_of_the_url() -> None:
    def handle(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with (
        Client("http://me:s3cret@darkroom.example", transport=httpx2.MockTransport(handle)) as client,
        pytest.raises(DarkroomError, match=r"^No answer from http://darkroom\.example: it cannot be reached\.$"),
    ):
        client.status()


def test_the_key_never_follows_a_redirect() -> None:
    seen: list[httpx2.URL] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url)
        return answer(307, None, Location="http://elsewhere.example/v1/status")

    with (
        Client(URL, key=KEY, transport=httpx2.MockTransport(handle)) as client,
        pytest.raises(UnexpectedAnswer, match="307"),
    ):
        client.status()

    assert [url.host for url in seen] == ["127.0.0.1"]


@both_kinds
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://bob:hunter2@host", "ftp://***@host"),
        ("http://bob:hu/nter2@host:8000", "http://***@host:8000"),
        ("http://bob:hunter2#@host:port", "http://***@host:port"),
        ("bob:hunter2@host", "***@host"),
        ("HTTP://bob:hunt@er2@host:\n", "HTTP://***@host:\n"),
    ],
)
def test_what_is_no_url_is_told_without_its_password(kind: type[Client | AsyncClient], url: str, shown: str) -> None:
    with pytest.raises(InvalidUrl) as raised:
        kind(url)

    assert raised.value.url == shown
    assert repr(shown) in str(raised.value)
    assert not re.search("bob|hu|er2", "".join(traceback.format_exception(raised.value)).rpartition("InvalidUrl")[2])


async def test_the_name_and_the_password_of_a_url_are_sent_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Authorization"])
        return answer(204)

    transport = httpx2.MockTransport(handle)
    with Client("http://bob:hunter%202@darkroom.example", key=KEY, transport=transport) as client:
        client.delete("job_1")
    async with AsyncClient("http://bob:hunter%202@darkroom.example", key=KEY, transport=transport) as other:
        await other.delete("job_1")

    assert seen == [f"Basic {b64encode(b'bob:hunter 2').decode()}"] * 2
    assert "http://darkroom.example/v1/jobs/job_1" in caplog.text
    assert not re.search("bob|hunter", caplog.text)
