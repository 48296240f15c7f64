"""One connection for many calls: what is its answer to whom, and what happens when it breaks, hangs or is refused."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
import uvloop
from redis.exceptions import AuthenticationError, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.adapters.line import Line, messages
from tests.faults.proxy import proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually


def a_line(url: str, timeout_s: float = 5.0) -> Line:
    return Line(url, name="darkroom-test", timeout_s=timeout_s, connect_s=5.0)


def listening(url: str, quiet_s: float = 5.0) -> AsyncGenerator[bytes]:
    return messages(url, "news", name="darkroom-test", connect_s=5.0, quiet_s=quiet_s)


@pytest.fixture
async def line(empty_redis: RedisServer) -> AsyncIterator[Line]:
    line = a_line(empty_redis.url)
    yield line
    await line.close()


async def test_many_calls_at_once_get_their_own_answers_over_one_connection(
    empty_redis: RedisServer, line: Line
) -> None:
    answers = await asyncio.gather(*[line.call(("ECHO", f"{n}"), ("ECHO", b"%d!" % n)) for n in range(500)])

    assert answers == [[b"%d" % n, b"%d!" % n] for n in range(500)]
    with empty_redis.client() as client:
        named = [each for each in client.client_list() if each["name"] == "darkroom-test"]
    assert len(named) == 1


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000])
async def test_bytes_of_any_size_come_back_as_they_went(line: Line, size: int) -> None:
    picture = os.urandom(size)

    kept, back = await line.call(("SET", "picture", picture, "PX", 60_000, "NX"), ("GET", "picture"))

    assert kept == b"OK"
    assert back == picture


async def test_an_error_is_the_answer_of_its_command_alone(line: Line) -> None:
    unknown, forgotten, fine = await line.call(("EXPLODE",), ("EVALSHA", "0" * 40, 0), ("ECHO", "fine"))

    assert type(unknown) is ResponseError
    assert type(forgotten) is NoScriptError
    assert fine == b"fine"


async def test_an_answer_that_nobody_waits_for_is_not_the_next_ones(line: Line) -> None:
    await line.call(("PING",))
    leaving = asyncio.create_task(line.call(("BLPOP", "nothing", 0.2)))
    await asyncio.sleep(0)
    leaving.cancel()

    assert await line.call(("ECHO", "mine")) == [b"mine"]
    assert leaving.cancelled()


async def test_a_line_that_broke_is_replaced_unnoticed(empty_redis: RedisServer, line: Line) -> None:
    await line.call(("PING",))
    with empty_redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)

    assert await line.call(("ECHO", "again")) == [b"again"]


async def test_calls_under_way_are_asked_again_when_the_line_breaks(empty_redis: RedisServer) -> None:
    with proxy("127.0.0.1", empty_redis.port) as between:
        line = a_line(f"redis://127.0.0.1:{between.port}")
        await line.call(("PING",))
        between.black_hole()
        calls = [asyncio.create_task(line.call(("ECHO", f"{n}"))) for n in range(20)]
        await asyncio.sleep(0)

        between.heal()
        between.reset()

        assert await asyncio.gather(*calls) == [[b"%d" % n] for n in range(20)]
        await line.close()


async def test_a_server_that_is_gone_refuses_at_once_and_is_found_again(own_server: RedisServer) -> None:
    line = a_line(own_server.url)
    await line.call(("PING",))
    own_server.kill()

    with pytest.raises(RedisConnectionError):
        await line.call(("PING",))
    own_server.start()

    assert await line.call(("PING",)) == [b"PONG"]
    await line.close()


async def test_a_silent_server_is_waited_for_so_long_and_no_longer(own_server: RedisServer) -> None:
    line = a_line(own_server.url, timeout_s=1.0)
    await line.call(("PING",))
    own_server.signal(signal.SIGSTOP)

    outcomes = await asyncio.gather(*[line.call(("PING",)) for _ in range(3)], return_exceptions=True)
    own_server.signal(signal.SIGCONT)

    assert {type(outcome) for outcome in outcomes} == {RedisTimeoutError}
    assert await line.call(("PING",)) == [b"PONG"]
    await line.close()


async def test_an_answer_that_keeps_coming_is_no_silence() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SETNAME\r\n$13\r\ndarkroom-test\r\n")
        writer.write(b"+OK\r\n")
        await reader.readuntil(b"PING\r\n")
        writer.write(b"$8\r\n")
        for _ in range(8):
            # Together longer than a silence may be, each on its own not.
            await asyncio.sleep(0.1)
            writer.write(b".")
        writer.write(b"\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    left = asyncio.Event()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        line = a_line(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.4)

        assert await line.call(("PING",)) == [b"........"]
        await line.close()
        await asyncio.wait_for(left.wait(), 10)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_gives_up_waiting_for_room_leaves_nothing_behind(
    own_server: RedisServer, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    picture = bytes(1_000_000)
    line = a_line(own_server.url, timeout_s=60)

    async def flood() -> list[BaseException]:
        await line.call(("PING",))
        own_server.signal(signal.SIGSTOP)
        calls = [asyncio.create_task(line.call(("SET", f"picture {number}", picture))) for number in range(100)]
        await asyncio.wait(calls, timeout=0.5)
        for call in calls:
            call.cancel()
        gone = await asyncio.gather(*calls, return_exceptions=True)
        own_server.signal(signal.SIGCONT)
        assert await line.call(("PING",)) == [b"PONG"]
        await line.close()
        return [one for one in gone if isinstance(one, BaseException)]

    with asyncio.Runner(loop_factory=loop) as runner:
        gone = runner.run(flood())

    assert {type(one) for one in gone} == {asyncio.CancelledError}
    with own_server.client() as client:
        # What the kernel's buffers and ours hold.
        assert len(client.keys("picture *")) <= 20


async def test_a_connection_that_never_comes_about_is_not_waited_for(empty_redis: RedisServer) -> None:
    with proxy("127.0.0.1", empty_redis.port) as between:
        between.black_hole()
        line = Line(f"redis://127.0.0.1:{between.port}", name="darkroom-test", timeout_s=5.0, connect_s=0.2)

        outcomes = await asyncio.gather(*[line.call(("PING",)) for _ in range(3)], return_exceptions=True)
        taken = between.taken
        between.heal()

        assert {type(outcome) for outcome in outcomes} == {RedisTimeoutError}
        assert taken == 1
        assert await line.call(("PING",)) == [b"PONG"]
        await line.close()


async def test_what_waits_for_a_connection_may_leave(empty_redis: RedisServer) -> None:
    with proxy("127.0.0.1", empty_redis.port) as between:
        between.black_hole()
        line = a_line(f"redis://127.0.0.1:{between.port}")
        leaving = asyncio.create_task(line.call(("PING",)))
        staying = asyncio.create_task(line.call(("PING",)))
        await eventually(lambda: asyncio.sleep(0, between.taken == 1))
        leaving.cancel()
        between.heal()

        assert await staying == [b"PONG"]
        await line.close()


async def test_a_password_a_user_and_a_database_are_told(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    with server.client() as client:
        client.acl_setuser("ann", enabled=True, passwords=["+s3cret"], categories=["+@all"], keys=["*"])
        client.acl_setuser("default", enabled=False)
    there = server.url.removeprefix("redis://").removesuffix("/0")
    line = a_line(f"redis://ann:s3cret@{there}/3")
    stranger = a_line(f"redis://ann:wrong@{there}/3")

    said, named = await line.call(("CLIENT", "LIST"), ("CLIENT", "GETNAME"))

    assert b"db=3" in said
    assert b"user=ann" in said
    assert named == b"darkroom-test"
    with pytest.raises(AuthenticationError):
        await stranger.call(("PING",))
    await line.close()
    await stranger.close()
    server.stop()


async def test_a_socket_in_the_file_system_will_do(empty_redis: RedisServer) -> None:
    line = a_line(empty_redis.socket_url)

    assert await line.call(("PING",)) == [b"PONG"]
    await line.close()


async def test_nonsense_ends_the_connection_and_nothing_else() -> None:
    lines: list[bool] = []

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"hello?\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        lines.append(True)

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        line = a_line(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")

        with pytest.raises(RedisConnectionError):
            await line.call(("PING",))
        await line.close()
        # It was asked again once.
        await eventually(lambda: asyncio.sleep(0, len(lines) == 2))


async def test_hanging_up_ends_calls_under_way(line: Line) -> None:
    await line.call(("PING",))
    call = asyncio.create_task(line.call(("BLPOP", "nothing", 0)))
    await asyncio.sleep(0)

    await line.close()

    with pytest.raises(RedisConnectionError):
        await asyncio.wait_for(call, 5)


async def test_what_is_published_is_heard_in_order(empty_redis: RedisServer) -> None:
    with empty_redis.client() as client:
        async with aclosing(listening(empty_redis.url)) as news:
            first = asyncio.create_task(anext(news))
            await eventually(lambda: asyncio.to_thread(lambda: bool(client.publish("news", "0"))))
            told = [await first]
            for number in range(1, 500):
                client.publish("news", str(number))
            told += [await anext(news) for _ in range(1, 500)]

    assert told == [str(number).encode() for number in range(500)]


async def test_a_quiet_server_that_answers_is_not_left(empty_redis: RedisServer) -> None:
    with empty_redis.client() as client:
        async with aclosing(listening(empty_redis.url, quiet_s=0.05)) as news:
            first = asyncio.create_task(anext(news))
            await eventually(lambda: asyncio.to_thread(lambda: client.pubsub_numsub("news") == [(b"news", 1)]))
            pings = client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
            await eventually(
                lambda: asyncio.to_thread(lambda: client.info("commandstats")["cmdstat_ping"]["calls"] > pings + 3)
            )
            client.publish("news", "at last")

            assert await first == b"at last"


async def test_a_server_that_says_nothing_is_left(own_server: RedisServer) -> None:
    async with aclosing(listening(own_server.url, quiet_s=0.1)) as news:
        first = asyncio.create_task(anext(news))
        with own_server.client() as client:
            await eventually(lambda: asyncio.to_thread(lambda: client.pubsub_numsub("news") == [(b"news", 1)]))
        own_server.signal(signal.SIGSTOP)

        with pytest.raises(RedisTimeoutError):
            await first
        own_server.signal(signal.SIGCONT)


async def test_who_listens_learns_that_the_line_broke(own_server: RedisServer) -> None:
    async with aclosing(listening(own_server.url)) as news:
        first = asyncio.create_task(anext(news))
        with own_server.client() as client:
            await eventually(lambda: asyncio.to_thread(lambda: client.pubsub_numsub("news") == [(b"news", 1)]))
        own_server.kill()

        with pytest.raises(RedisConnectionError):
            await first
    with pytest.raises(RedisConnectionError):
        await anext(listening(own_server.url))
