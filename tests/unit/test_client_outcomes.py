"""Many pictures at once: their order, their bound, and that nothing is left behind."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, get_type_hints

import httpx2
import pytest

import darkroom
from darkroom import (
    AnswerTimeout,
    AsyncClient,
    Client,
    ConnectionFailed,
    ConnectionLost,
    DarkroomError,
    Job,
    Outcome,
    Prediction,
    UnsupportedImageFormat,
    WaitTimeout,
)
from tests.support.answers import CARRIERS, URL, Carrier, a_classification, a_job, answer, refusal
from tests.support.waiting import eventually, until

both = pytest.mark.parametrize("carry", CARRIERS)


def by_its_bytes(request: httpx2.Request) -> httpx2.Response:
    """What a picture's bytes say becomes of it."""
    says = request.content.decode()
    if says == "bad":
        return refusal("unsupported-image-format", 415)
    if says == "lost":
        raise httpx2.RemoteProtocolError("hung up")
    if says == "late":
        raise httpx2.ReadTimeout("nothing came")
    if says == "unreachable":
        raise httpx2.ConnectError("refused")
    return answer(200, a_classification((says, 0.91)))


def many(images: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda client: client.classify_many(images, **options)


def each(images: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda client: client.classify_each(images, **options)


def labels(outcomes: Sequence[Outcome]) -> list[str]:
    return [best.label for outcome in outcomes if (best := outcome.unwrap().best)]


@both
@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_many_come_back_in_the_order_given(carry: Carrier, concurrency: int) -> None:
    given = [str(number).encode() for number in range(20)]

    outcomes = carry(by_its_bytes, many(given, concurrency=concurrency))

    assert labels(outcomes) == [str(number) for number in range(20)]
    assert [outcome.index for outcome in outcomes] == list(range(20))
    assert [outcome.image for outcome in outcomes] == given


@both
def test_none_at_all_is_an_empty_list(carry: Carrier) -> None:
    assert carry(by_its_bytes, many([])) == []
    assert carry(by_its_bytes, each(iter(()))) == []


@both
def test_one_bad_picture_never_loses_the_others(carry: Carrier, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"good")
    given = [b"bad", good, str(tmp_path / "nowhere"), io.BytesIO(b"open"), "nul\0", tmp_path, bytearray(b"last")]

    outcomes = carry(by_its_bytes, many(given))

    assert [type(outcome.error) for outcome in outcomes] == [
        UnsupportedImageFormat,
        type(None),
        FileNotFoundError,
        type(None),
        OSError,
        IsADirectoryError,
        type(None),
    ]
    assert labels([outcomes[1], outcomes[3], outcomes[6]]) == ["good", "open", "last"]
    with pytest.raises(UnsupportedImageFormat):
        outcomes[0].unwrap()


@both
def test_a_lost_connection_is_one_pictures_and_an_unreachable_server_ends_all(
    carry: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.exchanges._PAUSES_S", (0.0,))

    lost, good = carry(by_its_bytes, many([b"lost", b"good"]))
    with pytest.raises(ConnectionFailed, match="cannot be reached") as raised:
        carry(by_its_bytes, many([b"good", b"unreachable", b"good"]))

    assert isinstance(lost.error, ConnectionLost)
    assert labels([good]) == ["good"]
    assert type(raised.value) is ConnectionFailed


@both
def test_an_answer_that_does_not_come_in_time_is_one_pictures_bad_luck(carry: Carrier) -> None:
    late, good = carry(by_its_bytes, many([b"late", b"good"], concurrency=1))

    assert isinstance(late.error, AnswerTimeout)
    assert labels([good]) == ["good"]


@both
def test_a_picture_that_takes_longer_is_waited_for_as_its_job(carry: Carrier) -> None:
    asked: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.method == "POST":
            return answer(202, a_job(id=f"job_{request.content.decode()}"))
        if request.url.path.endswith("slow"):
            return answer(200, a_job("running", id="job_slow"))
        return answer(200, a_job("succeeded"))

    quick, slow = carry(handle, many([b"quick", b"slow"], timeout=0))

    assert labels([quick]) == ["Bird"]
    assert isinstance(slow.error, WaitTimeout)
    assert slow.error.job.id == "job_slow"
    assert sorted(asked) == ["/predict", "/predict", "/v1/jobs/job_quick", "/v1/jobs/job_slow"]


@both
@pytest.mark.parametrize("concurrency", [0, -1])
@pytest.mark.parametrize("call", [many, each])
def test_a_concurrency_below_one_is_refused(carry: Carrier, call: Callable[..., Any], concurrency: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        carry(by_its_bytes, call([b"x"], concurrency=concurrency))


@both
@pytest.mark.parametrize("one", ["cat.png", b"pixels", bytearray(b"pixels"), Path("cat.png"), io.BytesIO(b"pixels")])
def test_one_picture_where_several_are_wanted_is_a_mistake(carry: Carrier, one: object) -> None:
    with pytest.raises(TypeError, match="one picture"):
        carry(by_its_bytes, many(one))


@both
def test_pictures_that_cannot_be_had_end_the_series(carry: Carrier) -> None:
    def given() -> Iterator[bytes]:
        yield b"good"
        raise RuntimeError("the camera is off")

    with pytest.raises(RuntimeError, match="camera"):
        carry(by_its_bytes, many(given()))


class Pixels(bytes):
    """Bytes that tell when they go."""

    alive: ClassVar[int] = 0

    def __init__(self, *_: object) -> None:
        Pixels.alive += 1

    def __del__(self) -> None:
        Pixels.alive -= 1


class Lens:
    """A file whose picture is made when it is read."""

    def __init__(self, says: bytes) -> None:
        self.says = says

    def read(self) -> bytes:
        return Pixels(self.says)


@both
def test_an_outcome_that_failed_does_not_keep_the_pictures_bytes(carry: Carrier) -> None:
    outcomes = carry(by_its_bytes, many([Lens(b"bad") for _ in range(5)]))

    assert [type(outcome.error) for outcome in outcomes] == [UnsupportedImageFormat] * 5
    until(lambda: Pixels.alive == 0)


class Gate:
    """A server that answers a picture when it is let through, and counts how many it holds."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.holds: list[str] = []
        self.most = 0
        self.open: dict[str, threading.Event] = {}
        self.when: dict[int, str] = {}
        """Who is let through once so many are held."""
        self.after: dict[str, str] = {}
        """Who is let through when who was answered."""
        self.closed = False
        gate = self

        class _Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                says = self.rfile.read(int(self.headers["Content-Length"])).decode()
                gate.hold(says)
                body = httpx2.Response(200, json=a_classification((says, 0.9))).content
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True
                if says in gate.after:
                    gate.let(gate.after[says])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class _Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """A client that hangs up is what is tested."""

        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def hold(self, says: str) -> None:
        with self.guard:
            self.holds.append(says)
            self.most = max(self.most, len(self.holds))
            event = self.open.setdefault(says, threading.Event())
            if self.closed:
                event.set()
            if len(self.holds) in self.when:
                self.open.setdefault(self.when[len(self.holds)], threading.Event()).set()
        event.wait(30)
        with self.guard:
            self.holds.remove(says)

    def let(self, says: str) -> None:
        with self.guard:
            self.open.setdefault(says, threading.Event()).set()

    def let_all(self) -> None:
        with self.guard:
            self.closed = True
            for event in self.open.values():
                event.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    thread = threading.Thread(target=gate.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gate
    finally:
        gate.let_all()
        gate.server.shutdown()
        gate.server.server_close()
        thread.join()


def counted(count: int, taken: list[int]) -> Iterator[bytes]:
    for number in range(count):
        taken.append(number)
        yield str(number).encode()


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("darkroom")]


def test_no_more_are_taken_or_sent_at_once_than_wanted(gate: Gate) -> None:
    taken: list[int] = []

    with Client(gate.url) as client:
        outcomes = client.classify_each(counted(12, taken), concurrency=3)
        assert taken == []
        gate.when[3] = "1"
        first = next(outcomes)
        assert (first.index, taken) == (1, [0, 1, 2])
        gate.let("2")
        assert next(outcomes).index == 2
        assert taken == [0, 1, 2, 3]
        gate.let_all()
        rest = list(outcomes)

    assert sorted(outcome.index for outcome in rest) == [0, *range(3, 12)]
    assert gate.most == 3
    assert not our_threads()


async def test_no_more_tasks_are_taken_or_sent_at_once_than_wanted(gate: Gate) -> None:
    taken: list[int] = []

    async with AsyncClient(gate.url) as client:
        outcomes = client.classify_each(counted(12, taken), concurrency=3)
        assert taken == []
        gate.when[3] = "1"
        first = await anext(outcomes)
        assert (first.index, taken) == (1, [0, 1, 2])
        gate.let("2")
        assert (await anext(outcomes)).index == 2
        assert taken == [0, 1, 2, 3]
        gate.let_all()
        rest = [outcome async for outcome in outcomes]

    assert sorted(outcome.index for outcome in rest) == [0, *range(3, 12)]
    assert gate.most == 3
    assert len(asyncio.all_tasks()) == 1


def test_many_that_end_in_another_order_come_back_in_the_order_given(gate: Gate) -> None:
    gate.when, gate.after = {8: "7"}, {str(number + 1): str(number) for number in range(7)}

    with Client(gate.url) as client:
        assert labels(client.classify_many(counted(8, []))) == list("01234567")


async def test_many_tasks_that_end_in_another_order_come_back_in_the_order_given(gate: Gate) -> None:
    gate.when, gate.after = {8: "7"}, {str(number + 1): str(number) for number in range(7)}

    async with AsyncClient(gate.url) as client:
        assert labels(await client.classify_many(counted(8, []))) == list("01234567")


def a_slow_camera(told: threading.Event) -> Iterator[bytes]:
    """A picture each hundredth of a second, until an outcome is told."""
    for number in range(500):
        yield str(number).encode()
        if told.wait(0.01):
            return
    raise AssertionError("nothing was told")


def test_what_has_ended_is_told_before_all_that_there_is_room_for_is_taken(gate: Gate) -> None:
    gate.let_all()
    told = threading.Event()

    with Client(gate.url) as client:
        for _ in client.classify_each(a_slow_camera(told), concurrency=1000):
            told.set()


async def test_what_has_ended_is_told_to_a_task_before_all_that_there_is_room_for_is_taken(gate: Gate) -> None:
    gate.let_all()
    told = threading.Event()

    async with AsyncClient(gate.url) as client:
        async for _ in client.classify_each(a_slow_camera(told), concurrency=1000):
            told.set()


Leaving: TypeAlias = Callable[[Iterator[Outcome]], None]


@contextmanager
def quickly(seconds: float = 5) -> Iterator[None]:
    """Far less than the twenty seconds for which the server may hold an answer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def by_break(outcomes: Iterator[Outcome]) -> None:
    for _ in outcomes:
        break
    del outcomes


def by_exception(outcomes: Iterator[Outcome]) -> None:
    def enough(_: Outcome) -> None:
        raise RuntimeError

    with suppress(RuntimeError):
        for outcome in outcomes:
            enough(outcome)


@pytest.mark.parametrize("leave", [by_break, by_exception])
def test_leaving_early_ends_what_is_under_way_and_leaves_no_thread(gate: Gate, leave: Leaving) -> None:
    taken: list[int] = []
    gate.let("0")

    with Client(gate.url) as client, quickly():
        leave(client.classify_each(counted(100, taken), concurrency=8))
        until(lambda: not our_threads())

    assert len(taken) <= 9


def test_an_interrupt_ends_what_is_under_way(gate: Gate) -> None:
    def given() -> Iterator[bytes]:
        yield b"0"
        yield b"1"
        until(lambda: len(gate.holds) == 2)
        raise KeyboardInterrupt

    with Client(gate.url) as client, quickly(), pytest.raises(KeyboardInterrupt):
        list(client.classify_each(given()))

    assert not our_threads()


def test_leaving_early_does_no_harm_to_the_clients_other_calls(gate: Gate) -> None:
    found: list[str] = []
    gate.when[2] = "0"

    with Client(gate.url, retries=0) as client:
        outcomes = client.classify_each([b"0", b"1"], concurrency=2)
        next(outcomes)
        # The connection of the picture that ended is free now, and must not be taken by others.
        series = threading.Thread(target=lambda: found.extend(labels(client.classify_many([b"other"]))))
        alone = threading.Thread(target=lambda: found.append(str(client.classify(b"alone").job_id)))
        for thread in (series, alone):
            thread.start()
        until(lambda: {"other", "alone"} <= set(gate.holds))
        del outcomes
        gate.let_all()
        for thread in (series, alone):
            thread.join(10)

    assert sorted(found) == ["None", "other"]


def test_a_pause_before_a_repeat_is_cut_short_too() -> None:
    seen = threading.Event()

    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.content == b"busy":
            seen.set()
            return refusal("queue-full", 503, retry_after="5")
        seen.wait(10)
        return by_its_bytes(request)

    with Client(URL, transport=httpx2.MockTransport(handle)) as client, quickly(3):
        by_break(client.classify_each([b"busy", b"good"]))

    assert not our_threads()


async def only_this_task() -> bool:
    return len(asyncio.all_tasks()) == 1


async def test_breaking_off_ends_the_tasks(gate: Gate) -> None:
    gate.let("0")

    async with AsyncClient(gate.url) as client:
        with quickly():
            async for _ in client.classify_each(counted(100, []), concurrency=8):
                break
            await eventually(only_this_task)


async def test_closing_the_iterator_ends_the_tasks_at_once(gate: Gate) -> None:
    gate.let("0")

    async with AsyncClient(gate.url) as client:
        outcomes = client.classify_each(counted(100, []), concurrency=8)
        async with aclosing(outcomes):
            await anext(outcomes)

        assert await only_this_task()


async def test_a_cancelled_call_cancels_its_tasks(gate: Gate) -> None:
    async with AsyncClient(gate.url) as client:
        call = asyncio.create_task(client.classify_many(counted(100, []), concurrency=8))
        await eventually(lambda: asyncio.to_thread(lambda: len(gate.holds) == 8))

        with quickly():
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        assert await only_this_task()


def test_more_at_once_than_a_pool_usually_has_do_not_wait_for_a_connection(gate: Gate) -> None:
    def open_when_full() -> None:
        until(lambda: len(gate.holds) == 120, seconds=30)
        gate.let_all()

    with Client(gate.url, timeout=30) as client:
        outcomes = client.classify_each(counted(120, []), concurrency=120)
        opener = threading.Thread(target=open_when_full)
        opener.start()
        found = list(outcomes)
        opener.join()

    assert len(found) == 120
    assert gate.most == 120


async def test_more_tasks_at_once_than_a_pool_usually_has_do_not_wait_for_a_connection(gate: Gate) -> None:
    async with AsyncClient(gate.url, timeout=30) as client:
        call = asyncio.create_task(client.classify_many(counted(120, []), concurrency=120))
        await eventually(lambda: asyncio.to_thread(lambda: len(gate.holds) == 120), seconds=30)
        gate.let_all()
        found = await call

    assert len(labels(found)) == 120


def test_threads_may_share_a_client(gate: Gate) -> None:
    gate.let_all()
    found: list[str] = []

    with Client(gate.url) as client:

        def work(thread: int) -> None:
            found.extend(labels(client.classify_many([f"{thread}-{number}".encode() for number in range(10)])))
            for number in range(10, 15):
                shown = client.classify(f"{thread}-{number}".encode())
                found.extend(prediction.label for prediction in shown.predictions)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert sorted(found) == sorted(f"{thread}-{number}" for thread in range(6) for number in range(15))


def test_what_is_told_may_be_closed_as_its_types_say() -> None:
    with Client(URL, transport=httpx2.MockTransport(by_its_bytes)) as client:
        with closing(client.classify_each([b"good"])) as outcomes:
            outcome = next(outcomes)
        with closing(client.jobs(limit=0)) as jobs:
            assert list(jobs) == []

    assert outcome.error is None
    assert outcome.unwrap().best == Prediction(label="good", confidence=0.91)
    assert get_type_hints(Client.classify_each)["return"] == Generator[Outcome, None, None]
    assert get_type_hints(AsyncClient.classify_each)["return"] == AsyncGenerator[Outcome, None]
    assert get_type_hints(AsyncClient.jobs)["return"] == AsyncGenerator[Job, None]


def test_a_tool_may_ask_for_the_types_of_everything_public() -> None:
    hints = get_type_hints(Outcome)

    assert hints["error"] == DarkroomError | OSError | None
    for name in darkroom.__all__:
        kind = getattr(darkroom, name)
        if isinstance(kind, type):
            get_type_hints(kind)
