"""A claim whose answer was lost, asked again when the job has long been somebody else's."""

from collections.abc import AsyncIterator

import pytest

from shared.adapters import keys
from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.jobs import JobState
from tests.support.jobs import PICTURE, a_spec
from tests.support.redis_server import RedisServer


@pytest.fixture
async def jobs(empty_redis: RedisServer) -> AsyncIterator[RedisJobStore]:
    store = RedisJobStore.from_url(empty_redis.url, connections=2, bell=Bell())
    yield store
    await store.close()


async def test_a_claim_asked_again_gives_nothing_once_the_job_was_taken_back(
    empty_redis: RedisServer, jobs: RedisJobStore
) -> None:
    job = await jobs.enqueue(a_spec(), PICTURE)
    with empty_redis.client() as client:
        claim = client.register_script(keys.CLAIM)
        assert claim(args=["w1", 1]) is not None
        client.zadd(keys.LEASES, {job.id: 1})
        await jobs.reap()

        while_it_waits = claim(args=["w1", 1])
        another = claim(args=["w2", 1])
        while_another_has_it = claim(args=["w1", 1])

    assert (while_it_waits, while_another_has_it) == (None, None)
    assert another is not None
    taken = await jobs.get(job.id, job.spec.owner)
    assert (taken.state, taken.attempt) == (JobState.RUNNING, 2)
