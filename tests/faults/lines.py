"""A trial whose programs each reach Redis over a proxy of their own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.faults.load import Load, Pictures, mixed
from tests.faults.proxy import Connection, Proxy, proxy
from tests.faults.scenario import Run
from tests.faults.stack import Stack
from tests.faults.trial import Trial
from tests.faults.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The proxies, in the order of the programs that use them."""

    trial: Trial
    of_gateways: list[Proxy]
    of_workers: list[Proxy]


def of_a_store(connection: Connection) -> bool:
    """Whether a worker claims, finishes and beats over it."""
    return b"darkroom-worker" in connection.heard


def of_a_broker(connection: Connection) -> bool:
    """Whether Celery hears bells over it."""
    return b"BRPOP" in connection.heard and not of_a_store(connection)


def of_a_listener(connection: Connection) -> bool:
    """Whether a gateway hears over it of jobs that end."""
    return b"SUBSCRIBE" in connection.heard


def talked_into(connection: Connection) -> bool:
    """Those of them that their client has talked into since. One that lies idle in a pool cannot be found out."""
    return connection.orphaned and connection.missed > 0


def orphaned(connection: Connection) -> bool:
    """Whether its server has gone and its client was never told."""
    return connection.orphaned


@contextmanager
def over_lines(
    run: Run, *, rate: float, gateways: int = 2, workers: int = 2, pictures: Pictures = mixed, **worker_environ: str
) -> Iterator[Lines]:
    """A stack that is ready and under load until told to stop, over such lines."""
    with ExitStack() as parts:
        stack = Stack(run.folder, gateways=0, workers=0, worker_environ=worker_environ)
        # Left after the stack: nobody hears of their end.
        lines = [parts.enter_context(proxy("127.0.0.1", stack.redis.port)) for _ in range(gateways + workers)]
        parts.enter_context(stack)
        for line in lines[:gateways]:
            stack.start_gateway(redis_url=line.url)
        for line in lines[gateways:]:
            stack.start_worker(redis_url=line.url)
        stack.wait_ready()
        stack.wait_workers(workers)
        watch = parts.enter_context(Watch(run.folder, stack.redis))
        load = parts.enter_context(
            Load(run.folder, stack.urls, rate=rate, count=1_000_000, seed=run.seed, pictures=pictures)
        )
        yield Lines(
            trial=Trial(run=run, stack=stack, load=load, watch=watch),
            of_gateways=lines[:gateways],
            of_workers=lines[gateways:],
        )
