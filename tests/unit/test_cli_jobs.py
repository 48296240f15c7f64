"""The commands about jobs, before a real gateway."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import Result

from shared.jobs import Failure, Outcome
from tests.support import command_line
from tests.support.gateways import ShakyStore, a_live_gateway, work
from tests.support.jobs import a_failure
from tests.support.pictures import a_png

AN_ID = re.compile(r"job_[0-9a-f]{32}")
DEAD = Failure(code="inference-failed", detail="The model failed.", dead=True)


class Here:
    """A gateway whose jobs end when the test says so."""

    def __init__(self, store: ShakyStore, port: int, folder: Path) -> None:
        self.store = store
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder

    def run(self, *arguments: str | Path, stdin: str | None = None) -> Result:
        return command_line.run(*arguments, "--url", self.url, stdin=stdin)

    def run_json(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def picture(self, name: str = "a.png", width: int = 4) -> Path:
        path = self.folder / name
        path.write_bytes(a_png(width, 3))
        return path

    def submitted(self, *options: str) -> str:
        return self.run("submit", self.picture(), *options).stdout.strip()

    def done(self, outcome: Outcome | None = None) -> str:
        job_id = self.submitted()
        work(self.store, outcome)
        return job_id


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    store = ShakyStore()
    # It shares this process's stdout with the command.
    with capture_logs(), a_live_gateway(store) as (port, _):
        yield Here(store, port, tmp_path)


def test_submit_prints_one_id_a_line_in_the_order_of_the_pictures(here: Here) -> None:
    pictures = [here.picture(f"{number:02}.png", number + 1) for number in range(20)]

    told = here.run("submit", *pictures)
    as_json = here.run_json("submit", *pictures)

    lines = told.stdout.splitlines()
    assert told.exit_code == 0
    assert len(lines) == len(set(lines)) == 20
    assert all(AN_ID.fullmatch(line) for line in lines)
    assert [item["file"] for item in as_json] == [str(picture) for picture in pictures]


def test_submit_hands_on_what_is_wished(here: Here) -> None:
    (job,) = here.run_json("submit", here.picture(), "--threshold", "0.25", "--priority", "high", "--top-k", "1")
    (plain,) = here.run_json("submit", here.picture())
    work(here.store)

    assert (job["status"], job["confidence_threshold"], job["priority"]) == ("queued", 0.25, "high")
    assert (plain["confidence_threshold"], plain["priority"]) == (0.5, "normal")
    assert len(here.run_json("job", job["id"])["result"]["predictions"]) <= 1


def test_a_picture_that_cannot_be_submitted_is_a_sentence_and_the_others_are_jobs(here: Here) -> None:
    absent = here.folder / "absent.png"
    (here.folder / "text.png").write_text("no picture")

    told = here.run("submit", absent, here.folder / "text.png", here.picture())
    as_json = here.run("submit", absent, "--json")

    assert told.exit_code == as_json.exit_code == 1
    assert AN_ID.fullmatch(told.stdout.strip())
    first, second = told.stderr.splitlines()
    assert first == f"darkroom: {absent}: No such file or directory."
    assert second.startswith(f"darkroom: {here.folder / 'text.png'}: ")
    assert json.loads(as_json.stdout) == []


def test_wait_shows_the_jobs_in_the_order_asked_for(here: Here) -> None:
    ids = [here.done() for _ in range(3)][::-1]

    told = here.run("wait", *ids)
    as_json = here.run_json("wait", *ids)

    heading, _, *lines = [line.split() for line in told.stdout.splitlines() if line.strip()]
    assert told.exit_code == 0, told.stderr
    assert heading == ["job", "status", "label", "confidence", "age"]
    assert [line[:2] for line in lines] == [[job_id, "succeeded"] for job_id in ids]
    assert [job["id"] for job in as_json] == ids


def test_waiting_for_more_jobs_than_are_asked_for_at_once_tells_all(here: Here) -> None:
    job_id = here.done()

    as_json = here.run_json("wait", *[job_id] * 100)

    assert len(as_json) == 100


def test_a_job_that_failed_is_shown_with_its_reason_and_exit_status_1(here: Here) -> None:
    good, bad, canceled = here.done(), here.done(a_failure()), here.submitted()
    here.run("cancel", canceled)

    told = here.run("wait", good, bad)

    assert told.exit_code == 1
    assert ("failed" in told.stdout, "succeeded" in told.stdout) == (True, True)
    assert here.run("wait", canceled).exit_code == 1


def test_a_job_that_is_not_done_in_time_is_exit_status_4_whatever_else_failed(here: Here) -> None:
    bad, waiting = here.done(a_failure()), here.submitted()

    told = here.run("wait", waiting, bad, "job_none", "--timeout", "0.1")
    as_json = here.run("wait", waiting, "--timeout", "0", "--json")

    assert told.exit_code == as_json.exit_code == 4
    assert re.search(rf"{waiting} +queued", told.stdout)
    assert re.search(rf"{bad} +failed", told.stdout)
    assert f"darkroom: {waiting}: The job did not end within 0.1 s. It is queued" in told.stderr
    assert [job["status"] for job in json.loads(as_json.stdout)] == ["queued"]


def test_the_time_is_for_all_jobs_together(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.commands.WAITS_AT_ONCE", 1)
    ids = [here.submitted() for _ in range(4)]
    start = time.monotonic()

    told = here.run("wait", *ids, "--timeout", "1")

    assert time.monotonic() - start < 3
    assert told.stderr.count("The job did not end within 1 s.") == 4


@pytest.mark.parametrize("command", ["wait", "cancel", "delete"])
def test_ids_may_come_from_stdin(here: Here, command: str) -> None:
    one, two, three = (here.submitted() for _ in range(3))
    if command == "wait":
        here.run("cancel", one, two, three)

    told = here.run(command, one, "-", stdin=f"{two}\n {three}\n\n")

    assert AN_ID.findall(told.stdout) == [one, two, three], told.stderr


@pytest.mark.parametrize("command", ["wait", "cancel", "delete", "retry", "replay"])
def test_no_ids_on_stdin_is_wrong_use(here: Here, command: str) -> None:
    told = here.run(command, "-", stdin="\n")

    assert (told.exit_code, told.stdout, told.stderr) == (2, "", "darkroom: There are no ids on stdin.\n")


@pytest.mark.parametrize("command", ["wait", "cancel", "delete", "retry", "replay"])
def test_an_id_that_is_no_text_is_a_sentence(here: Here, command: str) -> None:
    told = here.run(command, "job_\udcff\x1b[31m")

    assert told.exit_code == here.run("job", "\udcff").exit_code == 2
    assert here.run("jobs", "--model", "\udcff").exit_code == 0
    assert told.stderr == "darkroom: 'job_\\udcff\\x1b[31m' is no job's id.\n"


def test_what_is_no_id_is_wrong_use_before_anything_is_asked(here: Here) -> None:
    documents = here.run("wait", "-", stdin=json.dumps([{"id": here.submitted()}], indent=2))
    path = here.run("delete", here.submitted(), "../status")

    assert (documents.exit_code, documents.stderr) == (2, "darkroom: '[' is no job's id.\n")
    assert (path.exit_code, path.stdout) == (2, "")
    assert path.stderr == "darkroom: '../status' is no job's id.\n"


def test_jobs_are_listed_newest_first_and_so_many_at_most(here: Here) -> None:
    ids = [here.submitted() for _ in range(3)]

    told = here.run("jobs", "--limit", "2")

    assert told.exit_code == 0
    assert AN_ID.findall(told.stdout) == ids[:0:-1]
    assert [job["id"] for job in here.run_json("jobs")] == ids[::-1]


def test_twenty_jobs_are_listed_unless_told(here: Here) -> None:
    here.run("submit", *[here.picture()] * 21)

    assert len(here.run_json("jobs")) == 20


def test_jobs_are_sifted_by_state_and_model(here: Here) -> None:
    done = here.done()
    waiting = here.submitted()

    assert [job["id"] for job in here.run_json("jobs", "--status", "succeeded")] == [done]
    assert [job["id"] for job in here.run_json("jobs", "--status", "queued", "--model", "mock")] == [waiting]
    assert here.run_json("jobs", "--model", "another") == []


def test_cancel_goes_through_all_and_tells_how_each_stands(here: Here) -> None:
    ended, one, two = here.done(), here.submitted(), here.submitted()

    first = here.run("cancel", one, "job_none", two)
    late = here.run("cancel", ended, "--json")

    assert first.exit_code == 1
    assert first.stdout == f"{one} canceled\n{two} canceled\n"
    assert first.stderr.startswith("darkroom: job_none: ")
    assert (late.exit_code, json.loads(late.stdout)) == (1, [])
    assert late.stderr.startswith(f"darkroom: {ended}: ")


def test_cancel_as_json_is_the_jobs(here: Here) -> None:
    job_id = here.submitted()

    (job,) = here.run_json("cancel", job_id)

    assert (job["id"], job["status"], job["done"]) == (job_id, "canceled", True)


def test_delete_goes_through_all_and_they_are_gone(here: Here) -> None:
    one, two, three = here.done(), here.done(), here.done()

    told = here.run("delete", one, "job_none", two)
    as_json = here.run_json("delete", three)

    assert told.exit_code == 1
    assert told.stdout == f"{one} deleted\n{two} deleted\n"
    assert told.stderr.startswith("darkroom: job_none: ")
    assert as_json == [{"id": three, "deleted": True}]
    assert here.run("job", one).exit_code == here.run("job", three).exit_code == 1


def test_retry_goes_through_all_and_prints_the_new_jobs(here: Here) -> None:
    one, done, two = here.done(a_failure()), here.done(), here.done(a_failure())

    told = here.run("retry", one, done, "-", stdin=two)
    again = here.run_json("retry", one)

    new = AN_ID.findall(told.stdout)
    assert told.exit_code == 1
    assert [here.run_json("job", job_id)["retry_of"] for job_id in new] == [one, two]
    assert told.stderr.startswith(f"darkroom: {done}: ")
    assert [job["id"] for job in again] == new[:1]


def test_a_job_tells_its_attempts_and_what_was_tried_again(here: Here) -> None:
    old = here.done(a_failure())
    before = here.run("job", old)
    new = here.run("retry", old).stdout.strip()

    after, waiting = here.run("job", old), here.run("job", new)

    assert "attempt  1 of 3" in re.sub(r" {2,}", "  ", before.stdout)
    assert "retr" not in before.stdout
    assert re.search(rf"retried as +{new}", after.stdout)
    assert re.search(rf"retry of +{old}", waiting.stdout)
    assert "attempt" not in waiting.stdout


def test_dead_letters_are_listed_with_code_attempts_and_reason(here: Here) -> None:
    here.done(a_failure())
    first, second = here.done(DEAD), here.done(DEAD)

    told = here.run("dead-letters")
    one = here.run_json("dead-letters", "--limit", "1")

    heading, _, *lines = [line.split() for line in told.stdout.splitlines() if line.strip()]
    assert told.exit_code == 0, told.stderr
    assert heading == ["job", "code", "attempts", "reason", "age"]
    assert [line[:6] for line in lines] == [
        [job_id, "inference-failed", "1", "The", "model", "failed."] for job_id in (second, first)
    ]
    assert [job["id"] for job in one] == [second]


def test_dead_letters_are_replayed_by_their_ids(here: Here) -> None:
    letter, plain = here.done(DEAD), here.done(a_failure())

    told = here.run("replay", plain, "-", stdin=f"{letter}\n")
    as_json = here.run_json("replay", letter)

    assert told.exit_code == 1
    assert told.stderr.startswith(f"darkroom: {plain}: ")
    assert [(job["id"], job["retry_of"]) for job in as_json] == [(told.stdout.strip(), letter)]
    assert here.run_json("dead-letters") == []


def test_all_dead_letters_are_replayed_newest_first_and_so_many_at_most(here: Here) -> None:
    one, two, three = (here.done(DEAD) for _ in range(3))

    first = here.run("replay", "--all", "--limit", "2", "--rate", "2.5")
    rest = here.run_json("replay", "--all")
    nothing = here.run("replay", "--all")

    assert first.exit_code == 0, first.stderr
    assert [here.run_json("job", job_id)["retry_of"] for job_id in AN_ID.findall(first.stdout)] == [three, two]
    assert [pair["retry_of"] for pair in rest["replayed"]] == [one]
    assert (rest["gone"], nothing.exit_code, nothing.stdout) == (0, 0, "")


def test_dead_letters_that_cannot_be_replayed_are_a_sentence_and_exit_status_1(here: Here) -> None:
    kept, gone = here.done(DEAD), here.done(DEAD)
    here.store._pictures.pop(gone)

    told = here.run("replay", "--all")

    assert told.exit_code == 1
    assert here.run_json("job", told.stdout.strip())["retry_of"] == kept
    assert told.stderr.startswith("darkroom: 1 of the dead letters cannot be tried again")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "job_1"], ["--all", "--rate", "0"], ["--all", "--rate", "-1"], ["--all", "--limit", "0"]],
)
def test_a_replay_of_nothing_named_is_wrong_use(here: Here, arguments: list[str]) -> None:
    told = here.run("replay", *arguments)

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr
