"""The harness's ear hears which job ended, whatever else is told of it."""

from pathlib import Path

from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from shared.adapters.redis_work_store import RedisWorkStore
from tests.faults.verdict import lines
from tests.faults.watching import ENDINGS, Watch
from tests.support.jobs import PICTURE, a_spec, an_answer
from tests.support.redis_server import RedisServer
from tests.support.waiting import until


async def test_an_end_is_written_down_under_its_jobs_id(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    jobs = RedisJobStore.from_url(server.url, connections=2, bell=Bell())
    work = RedisWorkStore.from_url(server.url, bell=Bell())
    with Watch(tmp_path, server):
        job = await jobs.enqueue(a_spec(), PICTURE)
        claim = work.claim("w1")
        assert claim is not None
        work.finish("w1", claim, an_answer(), then_claim=False)

        until(lambda: lines(tmp_path / ENDINGS))

    assert [line["id"] for line in lines(tmp_path / ENDINGS)] == [job.id]
    await jobs.close()
    work.retire("w1")
    server.stop()
