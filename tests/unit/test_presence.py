"""A worker says that it lives, and when it goes."""

import os
from pathlib import Path

from shared.errors import BrokerUnavailable
from shared.jobs import Claim
from shared.memory_store import MemoryStore
from shared.store import WorkerReport
from tests.support.jobs import a_report
from tests.support.waiting import eventually, until
from worker.presence import Presence, resident_bytes


def a_presence(store: MemoryStore, file: Path | None = None) -> Presence:
    return Presence(
        beat=lambda: store.beat(a_report()),
        retire=lambda: store.retire("w1"),
        look=lambda _: None,
        every_s=lambda: 0.01,
        file=file,
    )


async def test_a_worker_is_seen_while_it_beats_and_gone_when_it_stops() -> None:
    store = MemoryStore()
    presence = a_presence(store)

    presence.start()

    async def seen() -> bool:
        return bool((await store.overview()).workers)

    await eventually(seen)
    presence.stop()
    assert not await seen()


async def test_a_store_that_is_away_does_not_end_the_beat() -> None:
    class Shaky(MemoryStore):
        beats = 0

        def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
            self.beats += 1
            if self.beats == 1:
                raise BrokerUnavailable("The job store does not answer just now.")
            return super().beat(report, claim)

        def retire(self, worker: str) -> None:
            raise BrokerUnavailable("The job store does not answer just now.")

    store = Shaky()
    presence = a_presence(store)

    presence.start()

    async def seen() -> bool:
        return bool((await store.overview()).workers)

    await eventually(seen)
    presence.stop()
    assert store.beats >= 2


def test_a_file_is_touched_with_every_beat_that_was_taken(tmp_path: Path) -> None:
    file = tmp_path / "beat"
    taken = Path(tmp_path, "taken")

    class Shaky(MemoryStore):
        down = True

        def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
            if self.down:
                taken.touch()
                raise BrokerUnavailable("The job store does not answer just now.")
            return super().beat(report, claim)

    store = Shaky()
    presence = a_presence(store, file=file)
    presence.start()
    until(taken.exists, what="a beat that is not taken")
    untouched = not file.exists()
    store.down = False
    until(file.exists, what="a beat that is taken")
    first = file.stat().st_mtime_ns
    until(lambda: file.stat().st_mtime_ns > first, what="another one")
    presence.stop()

    assert untouched


def test_a_file_that_cannot_be_touched_does_not_end_the_beat(tmp_path: Path) -> None:
    class Counting(MemoryStore):
        beats = 0

        def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
            self.beats += 1
            return False

    store = Counting()
    presence = a_presence(store, file=tmp_path / "nowhere" / "beat")

    presence.start()

    until(lambda: store.beats > 2, what="a third beat")
    presence.stop()


def test_whatever_breaks_does_not_end_the_beat() -> None:
    calls: list[str] = []

    def beat() -> bool:
        calls.append("beat")
        raise MemoryError

    def look(_: bool) -> None:
        calls.append("look")
        raise ProcessLookupError

    presence = Presence(beat=beat, retire=lambda: None, look=look, every_s=lambda: 0.01)

    presence.start()

    until(lambda: calls.count("look") > 2, what="a third look")
    presence.stop()
    assert calls.count("beat") >= 3


def test_the_resident_memory_is_this_process_s() -> None:
    with Path(f"/proc/{os.getpid()}/status").open(encoding="ascii") as status:
        told = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    assert abs(resident_bytes() - told) < 5_000_000
