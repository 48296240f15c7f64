"""The benchmark's own arithmetic, its distrust of answers, and that its page is what its results give."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bare, pictures, report, results
from benchmarks.__main__ import main
from benchmarks.apart import Apart, Failed
from benchmarks.bench import Bench, Effort
from benchmarks.charts import Bar, bars
from benchmarks.cost import cost
from benchmarks.expectation import expect
from benchmarks.figures import http
from benchmarks.load import Callers, Load, Order, WrongAnswer
from benchmarks.parts import Part
from benchmarks.pictures import KINDS
from benchmarks.processes import Processes, Replaced
from benchmarks.results import Figure, Goal, Results
from benchmarks.rounds import Spread, between_floors
from tests.support.stub_server import stub_server
from tests.support.waiting import until
from worker.classify import decode_and_preprocess

BARE = (
    '{"predictions": [{"label": "Bird", "confidence": 0.3}, {"label": "Mammal", "confidence": 0.7}], "latency_ms": 1}'
)


def an_answer(mammal: float, bird: float) -> str:
    predictions = [{"label": "Mammal", "confidence": mammal}, {"label": "Bird", "confidence": bird}]
    return json.dumps({"predictions": predictions, "latency_ms": 7.4}, separators=(",", ":"))


def a_figure(*values: float, limit: float | None = 1.05, part: str = "http") -> Figure:
    parts = {"cpu_s": 0.004, "gateway_s": 0.001, "worker_s": 0.001, "decoder_s": 0.002, "redis_s": 0.0}
    told = {"floor_s": 0.005, "rate": 200.0, "p50_ms": 60.0, "p99_ms": 90.0}
    return Figure(
        part=part,
        name="640x480, 16 connections, fast",
        unit="of the bare loop",
        values=values,
        rounds=[{**parts, **told} for _ in values],
        goal=None if limit is None else Goal(bound="at most", limit=limit),
    )


def some_results(*figures: Figure) -> Results:
    return Results(surroundings={"Python": "3.11"}, seconds=300.0, figures=figures)


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert Spread.of([1.3, 1.0, 1.1, 9.0, 1.2]) == Spread(median=1.2, least=1.0, most=9.0)


def test_every_system_is_measured_between_two_floors() -> None:
    floors, order = iter([1.0, 3.0, 5.0, 7.0, 9.0]), []

    def floor() -> float:
        order.append("floor")
        return next(floors)

    def system(name: str) -> str:
        order.append(name)
        return name

    rounds = list(between_floors(floor, [lambda: system("ours"), lambda: system("its")], 2))

    assert order == ["floor", "ours", "floor", "its", "floor", "ours", "floor", "its", "floor"]
    assert rounds == [[("ours", 2.0), ("its", 4.0)], [("ours", 6.0), ("its", 8.0)]]


def test_the_median_alone_decides_whether_a_goal_is_met() -> None:
    assert a_figure(1.0, 1.05, 9.0).met is True
    assert a_figure(1.0, 1.06, 1.06).met is False
    assert Goal(bound="at least", limit=0.8).met(0.8)
    assert not Goal(bound="at least", limit=0.8).met(0.79)
    assert a_figure(1.0, limit=None).met is None


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    kept = some_results(a_figure(1.0, 1.25, 1.5), a_figure(2.0, limit=None))

    results.save(kept, path)

    assert report.pages(results.load(path)) == report.pages(kept)
    assert json.loads(path.read_text())["figures"][0]["median"] == 1.25


def test_the_page_says_of_every_goal_whether_it_is_met() -> None:
    page = report.pages(some_results(a_figure(1.0, 1.0, 1.0), a_figure(1.5, 1.6, 1.7)))[Path("performance.md")]

    assert "## Goals: 1 of 2 met" in page
    assert "| **1** (1 to 1) | of the bare loop | ≤ 1.05 | met |" in page
    assert "| **1.60** (1.50 to 1.70) | of the bare loop | ≤ 1.05 | **not met** |" in page


def test_the_page_in_the_repository_is_what_the_results_in_the_repository_give() -> None:
    made = report.pages(results.load(results.LATEST))

    assert {path: (report.DOCS / path).read_text(encoding="utf-8") for path in made} == made


def test_a_chart_has_a_piece_for_each_role_and_escapes_what_it_is_given() -> None:
    chart = bars("a < b", [Bar(label="<one>", pieces={"gateway": 0.5, "Redis": 0.25})], mark=1, marked="bare & loop")

    assert chart.count("<rect") == 4
    assert "&lt;one&gt;" in chart
    assert "bare &amp; loop" in chart
    assert ">0.75</text>" in chart


@pytest.mark.parametrize("exact", [True, False])
def test_a_first_answer_like_the_bare_loops_is_expected_from_then_on_without_its_latency(exact: bool) -> None:
    expected = expect(an_answer(0.7, 0.3), BARE, exact=exact)

    assert an_answer(0.7, 0.3).startswith(expected)
    assert not an_answer(0.70001, 0.3).startswith(expected)
    assert "latency" not in expected


@pytest.mark.parametrize(
    ("first", "exact"),
    [
        (an_answer(0.7, 0.299), True),
        (an_answer(0.55, 0.45), False),
        (an_answer(0.3, 0.7), False),
        (an_answer(0.62, 0.6), False),
        ('{"predictions": [], "latency_ms": 1}', False),
        ('{"detail": "no"}', False),
        ("", False),
    ],
)
def test_a_first_answer_unlike_the_bare_loops_is_wrong(first: str, exact: bool) -> None:
    with pytest.raises(WrongAnswer):
        expect(first, BARE, exact=exact)


def test_fast_mode_may_choose_another_of_two_labels_that_are_as_good_as_equal() -> None:
    close = BARE.replace("0.3", "0.49").replace("0.7", "0.51")
    other = json.dumps(
        {
            "predictions": [{"label": "Bird", "confidence": 0.501}, {"label": "Mammal", "confidence": 0.499}],
            "latency_ms": 1,
        }
    )

    assert expect(other, close, exact=False)
    with pytest.raises(WrongAnswer):
        expect(other, close, exact=True)


def test_fast_mode_may_not_choose_another_label_than_one_that_leads_clearly() -> None:
    clear = BARE.replace("0.3", "0.47").replace("0.7", "0.53")
    other = an_answer(0.51, 0.49).replace("Mammal", "bird").replace("Bird", "Mammal").replace("bird", "Bird")

    with pytest.raises(WrongAnswer):
        expect(other, clear, exact=False)


@pytest.fixture(scope="module")
def callers() -> Iterator[Callers]:
    with Callers() as program:
        yield program


def an_order(url: str, folder: Path, *bodies: str, expected: Sequence[str] = (), status: int = 202) -> Order:
    paths = []
    for number, body in enumerate(bodies):
        path = folder / f"{number}"
        path.write_text(body)
        paths.append(str(path))
    starts = expected or [""] * len(bodies)
    return Order(url=url, bodies=paths, expected=starts, connections=3, requests=20, seconds=20, status=status)


def test_callers_take_the_bodies_in_turn_and_count_every_answer(callers: Callers, tmp_path: Path) -> None:
    with stub_server() as url:
        load = callers.send(
            an_order(f"{url}/v1/jobs", tmp_path, "a", "b", expected=['{"id": "job_a"', '{"id": "job_b"'])
        )

    assert load.requests == 20
    assert 0 < load.p50_ms <= load.p99_ms
    assert load.rate > 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [("a", '{"id": "job_b"'), ("bad", ""), ("hangs up", "")],
    ids=["another answer", "another status", "no answer"],
)
def test_callers_do_not_let_a_wrong_answer_pass(callers: Callers, tmp_path: Path, body: str, expected: str) -> None:
    with stub_server() as url, pytest.raises(WrongAnswer):
        callers.send(an_order(f"{url}/v1/jobs", tmp_path, "a", body, expected=["", expected]))


def test_a_wrong_answer_fails_the_run_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(_: Bench) -> Iterator[Figure]:
        yield a_figure(1.0, part="first")
        raise WrongAnswer("another bird")

    output = tmp_path / "results.json"

    status = main(["--output", str(output)], {"first": Part(title="", told="", measure=measure)})

    assert status == 1
    assert not output.exists()
    assert "nothing of this run counts: another bird" in capsys.readouterr().err


def test_a_part_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["htpp"]) == 2
    assert "there is no part htpp" in capsys.readouterr().err


def a_process(text: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", text], stdin=subprocess.PIPE)


def test_processor_time_counts_by_role_and_of_all_below() -> None:
    fork = "import os\nif os.fork():\n os.wait()\nelse:\n while True: pass"
    with a_process(fork) as process:
        try:
            processes = Processes({"gateway": process.pid})
            until(lambda: len(processes.found()) == 2)
            before = processes.read()

            until(lambda: processes.read().since(before)["gateway"] > 0.05)

            assert set(processes.read().since(before)) == {"gateway"}
            assert all(memory.pss_mb > 0 for _, memory in processes.memory().values())
        finally:
            for pid in reversed(processes.found()):
                os.kill(pid, 9)


def test_a_measurement_in_which_a_process_was_replaced_does_not_count() -> None:
    with a_process("import os\ninput()\nif os.fork():\n os.wait()\nelse:\n input()") as process:
        processes = Processes({"gateway": process.pid})
        before = processes.read()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(lambda: len(processes.found()) == 2)

        with pytest.raises(Replaced):
            processes.read().since(before)

        process.stdin.close()


def test_a_child_of_redis_may_come_and_go_and_is_redis() -> None:
    with a_process("import os\nif os.fork():\n os.wait()\nelse:\n input()") as process:
        until(lambda: len(Processes({"redis": process.pid}).found()) == 2)

        reading = Processes({"redis": process.pid}).read()

        assert reading.pids == {process.pid}
        assert process.stdin is not None
        process.stdin.close()


def test_what_a_child_of_redis_took_counts_though_it_has_ended() -> None:
    burning = "import os, time\nif os.fork():\n os.wait()\n print(flush=True)\n input()\nelse:\n input()"
    burning += "\n while time.process_time() < 0.3: pass\n os._exit(0)"
    with a_process(burning) as process:
        processes = Processes({"redis": process.pid})
        until(lambda: len(processes.found()) == 2)
        before = processes.read()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(lambda: len(processes.found()) == 1)

        spent = processes.read().since(before)

        # Ended children are counted in hundredths of a second.
        assert spent["redis"] >= 0.27
        process.stdin.close()


def test_a_cost_is_what_was_spent_for_each_request() -> None:
    with a_process(
        "import time\ninput()\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    ) as process:
        assert process.stdin is not None
        stdin, processes = process.stdin, Processes({"gateway": process.pid})

        def send() -> Load:
            spent_before = processes.read()
            stdin.write(b"\n")
            stdin.flush()
            until(lambda: sum(processes.read().since(spent_before).values()) > 0.2)
            return Load(requests=10, wrong=0, seconds=1.0, p50_ms=1.0, p99_ms=1.0, cpu_s=0.0, first="")

        figures = cost(processes, send)

        assert 0.02 <= figures["cpu_s"] <= 0.04
        assert figures["gateway_s"] == figures["cpu_s"]
        stdin.close()


def test_the_bare_loop_and_the_service_in_exact_mode_make_the_same_tensor(tmp_path: Path) -> None:
    (first, *others) = pictures.make(KINDS["224x224"], tmp_path)
    image = pictures.encoded(pictures.photographs()[0], "JPEG")
    text = base64.b64encode(image).decode()

    assert len(others) == KINDS["224x224"].different - 1
    assert len({path.read_bytes() for path in (first, *others)}) == KINDS["224x224"].different
    assert 10_000 < first.stat().st_size <= KINDS["224x224"].bytes
    np.testing.assert_allclose(decode_and_preprocess(text, mode="exact"), bare.tensor(text), atol=1e-5)


def test_the_system_can_be_measured_as_it_is() -> None:
    case = http.Case(pictures="224x224", connections=2)
    with Bench(Effort(rounds=2, share=0.02)) as bench:
        (figure,) = http.measure(bench, [case])

    assert len(figure.values) == 2
    assert all(value > 0 for value in figure.values)
    assert {"gateway_s", "worker_s", "decoder_s", "redis_s", "supervisor_s"} <= set(figure.rounds[0])
    assert figure.met is None
    assert report.said(replace(figure, goal=Goal(bound="at most", limit=1000))).endswith("met")


def test_a_load_knows_its_rate() -> None:
    assert Load(requests=10, seconds=2, cpu_s=0, p50_ms=1, p99_ms=1, wrong=0).rate == 5


def test_a_program_that_ends_instead_of_answering_fails_the_run() -> None:
    with Apart("benchmarks.bare") as loop:
        with pytest.raises(Failed, match="ended with status 1"):
            loop({"bodies": ["/no/such/file"], "pictures": 1, "seconds": 1})
        with pytest.raises(Failed):
            loop({})
