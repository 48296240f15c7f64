"""The verdict on made-up files: what is not in order is told."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.load import ACCEPTED, SIGHTINGS
from tests.faults.verdict import Codes, judge, quantile, seconds_by_tag
from tests.faults.watching import ENDINGS, LEFTOVERS

WORKER = "worker-0.log"


def accepted(job: str, tag: str = "small") -> dict[str, Any]:
    return {"id": job, "key": f"key-{job}", "tag": tag, "asked_s": 0.0, "accepted_s": 0.1, "tries": 1}


def seen(job: str, sight: str = "first", **changes: Any) -> dict[str, Any]:
    ended = {"status": "succeeded", "code": None, "attempt": 1, "created_s": 0.0, "started_s": 0.5, "finished_s": 1.0}
    return {"id": job, "sight": sight, "seen_s": 1.1, **ended, **changes}


def both(job: str, **changes: Any) -> list[dict[str, Any]]:
    """Seen twice alike."""
    return [seen(job, **changes), seen(job, "final", **changes)]


def said(job: str, outcome: str = "succeeded", **changes: Any) -> dict[str, Any]:
    return {"event": "job", "job_id": job, "attempt": 1, "outcome": outcome, "setback": False, **changes}


def a_run(folder: Path, **changes: Sequence[Mapping[str, Any]]) -> Path:
    """The files of a run of jobs a and b without a fault, except for these."""
    files: dict[str, Sequence[Mapping[str, Any]]] = {
        "accepted": [accepted("a"), accepted("b")],
        "sightings": [*both("a"), *both("b")],
        "endings": [{"id": "a", "at_s": 1.0}, {"id": "b", "at_s": 1.0}],
        "worker": [said("a"), said("b")],
        **changes,
    }
    names = {"accepted": ACCEPTED, "sightings": SIGHTINGS, "endings": ENDINGS, "worker": WORKER}
    for name, content in files.items():
        (folder / names[name]).write_text("".join(f"{json.dumps(line)}\n" for line in content), encoding="utf-8")
    leave(folder, ["a", "b"])
    return folder


def leave(folder: Path, ids: Sequence[str], held: Mapping[str, int] | None = None) -> None:
    (folder / LEFTOVERS).write_text(json.dumps({"ids": ids, "held": held or {}}), encoding="utf-8")


def problems(folder: Path, codes: Codes | None = None) -> list[str]:
    return judge(folder, codes=codes).problems


def test_a_run_without_a_fault_has_no_problems(tmp_path: Path) -> None:
    verdict = judge(a_run(tmp_path))

    assert verdict.problems == []
    assert (verdict.figures["jobs"], verdict.figures["lost"], verdict.figures["succeeded"]) == (2, 0, 2)


def test_an_accepted_job_that_was_never_seen_ended_is_lost(tmp_path: Path) -> None:
    folder = a_run(tmp_path, sightings=[seen("a"), seen("a", "final")])

    verdict = judge(folder)

    assert verdict.problems == ["1 accepted and not ended: b"]
    assert verdict.figures["lost"] == 1


def test_a_job_that_its_gateway_no_longer_knows_is_lost(tmp_path: Path) -> None:
    gone = {"id": "b", "status": "job-not-found", "seen_s": 1.0}
    folder = a_run(tmp_path, sightings=[*both("a"), {**gone, "sight": "first"}, {**gone, "sight": "final"}])

    assert problems(folder) == ["1 accepted and not ended: b"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed", "code": "worker-crashed"},
        {"status": "canceled"},
        {"attempt": 2},
        {"finished_s": 2.0},
        {"status": "job-expired"},
    ],
)
def test_a_job_that_was_seen_in_two_ends_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = a_run(tmp_path, sightings=[seen("a"), seen("b"), seen("a", "final"), seen("b", "final", **change)])

    assert problems(folder) == ["1 seen in two ends: b"]


def test_an_ended_job_that_is_not_ended_any_more_is_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path, sightings=[seen("a"), seen("b"), seen("a", "final")])

    assert problems(folder) == ["1 ended and not seen again: b"]


def test_a_job_that_was_published_twice_is_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path, endings=[{"id": job, "at_s": 1.0} for job in ("a", "b", "a")])

    assert problems(folder) == ["1 told of as ended more than once: a"]


def test_two_outcomes_that_both_counted_are_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path, worker=[said("a"), said("b"), said("b", attempt=2)])

    assert problems(folder) == ["1 given more than one outcome by workers: b"]


def test_setbacks_and_what_comes_too_late_are_no_second_outcome(tmp_path: Path) -> None:
    late = said("a", "too late", attempt=1)
    setback = said("b", "decode-timeout", setback=True)
    folder = a_run(tmp_path, worker=[late, said("a", attempt=2), setback, said("b", attempt=2)])

    verdict = judge(folder)

    assert verdict.problems == []
    assert verdict.figures["too_late"] == 1


def test_a_failure_that_nothing_excuses_is_told(tmp_path: Path) -> None:
    failed = {"status": "failed", "code": "invalid-image"}
    folder = a_run(tmp_path, sightings=[*both("a"), *both("b", **failed)])

    assert problems(folder) == ["1 ended as they may not: b (small: invalid-image)"]
    assert problems(folder, {"small": (None, "invalid-image")}) == []
    assert problems(folder, {"small": ("invalid-image",)}) == ["1 ended as they may not: a (small: None)"]


def test_a_job_that_nobody_was_promised_is_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    leave(folder, ["a", "b", "c"])

    assert problems(folder) == ["1 made and promised to nobody: c"]


def test_what_is_left_in_redis_is_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    leave(folder, ["a", "b"], {"darkroom:leases": 1})

    assert problems(folder) == ["1 in Redis though all has ended: darkroom:leases (1)"]


def test_two_keys_that_were_given_the_same_job_are_told(tmp_path: Path) -> None:
    folder = a_run(tmp_path, accepted=[accepted("a"), accepted("b"), {**accepted("b"), "key": "another"}])

    assert problems(folder) == ["1 promised to more than one caller: b"]


def test_a_run_of_no_jobs_proves_nothing(tmp_path: Path) -> None:
    folder = a_run(tmp_path, accepted=[], sightings=[], endings=[], worker=[])
    leave(folder, [])

    assert problems(folder) == ["no job was accepted"]


def test_a_line_that_was_cut_off_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    with (folder / WORKER).open("a", encoding="utf-8") as log:
        log.write('Traceback:\n{"event": "jo')

    assert problems(folder) == []


def test_recovery_is_counted_from_what_is_usual(tmp_path: Path) -> None:
    again: dict[str, Any] = {"attempt": 3, "finished_s": 12.0}
    folder = a_run(tmp_path, sightings=[*both("a"), *both("b", **again)])

    figures = judge(folder).figures

    assert (figures["usual_s"], figures["recovery_max_s"], figures["recovered"]) == (1.0, 11.0, 1)
    assert (figures["executions"], figures["duplicates"]) == (4, 2)
    assert seconds_by_tag(folder) == {"small": [1.0, 12.0]}


def test_a_figure_past_its_limit_is_a_problem(tmp_path: Path) -> None:
    verdict = judge(a_run(tmp_path))

    verdict.limit("jobs", 2)
    verdict.least("jobs", 2)
    verdict.limit("jobs", 1)
    verdict.least("jobs", 3)
    verdict.least("recovery_max_s", 0)

    assert verdict.problems == [
        "jobs is 2, more than 1",
        "jobs is 2, less than 3",
        "recovery_max_s is None, less than 0",
    ]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 51), (0.95, 96), (1.0, 100)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile(range(1, 101), share) == value
    assert quantile([], share) is None
