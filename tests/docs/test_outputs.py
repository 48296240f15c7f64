"""An output is what its page shows, but for what is measured: the one is held to it, the other is let pass."""

import pytest

from tests.docs.outputs import difference

WORKER = "worker 3f9   idle, {}, 7 jobs, {} MB, heard {} s ago"


def results(*, label: str = "Bird", confidence: str = "0.581", work: str = "7.4", room: int = 1) -> str:
    gap = " " * room
    return (
        f"  file      label{gap}  confidence   work ms   queue ms\n"
        f" {'─' * (50 + room)}\n"
        f"  cat.png   {label:<5}{gap}  {confidence:>10}   {work:>7}        0.6\n"
    )


def jobs(*, job: str = "a", confidence: str = "0.595", age: str = "0 s") -> str:
    return (
        f"  job   status      confidence    age\n"
        f" ──────────────────────────────────────\n"
        f"  {job}     succeeded   {confidence:>10}   {age:>4}\n"
    )


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"latency_ms":7.47,"queue_ms": 0}', '{"latency_ms":12.1,"queue_ms": 3.25}'),
        ('{"uptime_s":7,"rss_bytes":80000000}', '{"uptime_s":61.5,"rss_bytes":90000000}'),
        ("Timings(predict_ms=1.5)", "Timings(predict_ms=12.25)"),
        ("job_…", "job_" + "0" * 32),
        ("job_" + "a" * 32, "job_" + "b" * 32),
        ("2026-11-21T10:00:00Z", "2027-01-02T03:04:05.678901Z"),
        (results(work="7.4"), results(work="17.4")),
        (results(work="7.4"), results(work="1017.4", room=4)),
        (jobs(age="0 s"), jobs(age="12 s")),
        ("up           31 s\noldest   1.5 s", "up       7 s\noldest  12.5 s"),
        (WORKER.format("mock@1", 75, 0.7), WORKER.format("mock@1", 103, 1.2)),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("worker …: idle", "worker 3f9@host: idle"),
        ('{"confidence":0.58095}', '{"confidence":0.580957}'),
        ("confidence=0.58095", "confidence=0.580957"),
    ],
)
def test_what_is_measured_is_let_pass(shown: str, printed: str) -> None:
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"confidence":0.58095}', '{"confidence":0.58105}'),
        ('{"confidence":0.9}', '{"confidence":0.5}'),
        ('{"latency_ms":7.47}', '{"latency_ms":null}'),
        ("result_ttl_s: 3600", "result_ttl_s: 1"),
        ("max_body_bytes=15728640", "max_body_bytes=1"),
        ("mock 2.7", "mock 3.1"),
        ("15 MB", "99 MB"),
        ("wait 10 s", "wait 60 s"),
        (results(confidence="0.581"), results(confidence="0.582")),
        (results(confidence="0.5"), results(confidence="0.9")),
        (results(label="2.7"), results(label="3.1")),
        (results(work="7.4"), results(work="-")),
        (f"{results()}\n{'2.7':>40}", f"{results()}\n{'3.1':>40}"),
        (jobs(job="1"), jobs(job="2")),
        (WORKER.format("mock@1", 75, 0.7), WORKER.format("mock@2", 75, 0.7)),
        ("Bird", "Bird, or Reptile"),
        ("3 succeeded", "4 succeeded"),
        ("a\n…\nd", "a\nb\nc"),
        ("", "something"),
        ("something", ""),
        ("worker …: idle", "worker 3f9@host: busy"),
        ("http://127.0.0.1/", "http://126.0.0.1/"),
    ],
)
def test_what_a_page_promises_is_held_to_it(shown: str, printed: str) -> None:
    assert difference(shown, printed) is not None
