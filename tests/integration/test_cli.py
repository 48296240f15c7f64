"""The command before a running Darkroom: every verb, from picture to answer."""

import json
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest

from tests.integration.conftest import Stack
from tests.support.command_line import command, program
from tests.support.pictures import a_picture, encoded
from tests.support.ups import the_real_ones
from tests.support.waiting import until

AN_ID = re.compile(r"job_[0-9a-f]{32}")
KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with the_real_ones(tmp_path_factory.mktemp("up"), "--workers", "1") as up:
        yield up.url
        assert up.stop() == 0


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded(a_picture(seed=number)))
    return folder


def darkroom(*arguments: str | Path, **environ: str) -> CompletedProcess[str]:
    return program(command(*arguments), stdout=PIPE, **environ)


def test_what_submit_prints_wait_reads(url: str, pictures: Path) -> None:
    submit, wait = (shlex.join(command(*words)) for words in (("submit", pictures), ("wait", "-", "--json")))

    told = program(["bash", "-o", "pipefail", "-c", f"{submit} | {wait}"], DARKROOM_URL=url)

    jobs = json.loads(told.stdout)
    assert (told.returncode, told.stderr) == (0, "")
    assert [job["status"] for job in jobs] == ["succeeded"] * 3
    assert len({job["id"] for job in jobs}) == 3


def test_a_broken_picture_in_a_folder_is_one_row_and_exit_status_1(url: str, pictures: Path) -> None:
    good = (pictures / "0.png").read_bytes()
    (pictures / "1.png").write_bytes(good[: len(good) // 2])

    told = darkroom("classify", pictures, "--threshold", "0", "--json", "--url", url)

    first, broken, last = json.loads(told.stdout)
    assert told.returncode == 1
    assert told.stderr == ""
    assert Path(broken["file"]).name == "1.png"
    assert broken["error"]
    assert broken["label"] is None
    for row in (first, last):
        assert row["error"] is None
        assert row["label"] == row["predictions"][0]["label"]
        assert AN_ID.fullmatch(row["job_id"])
        assert row["work_ms"] > 0
        assert row["queue_ms"] >= 0


def test_classify_and_submit_give_the_same_answer(url: str, pictures: Path) -> None:
    picture = pictures / "0.png"

    (row,) = json.loads(darkroom("classify", picture, "--threshold", "0", "--json", "--url", url).stdout)
    job_id = darkroom("submit", picture, "--threshold", "0", "--url", url).stdout.strip()
    (job,) = json.loads(darkroom("wait", job_id, "--json", "--url", url).stdout)

    assert job["result"]["predictions"] == row["predictions"]


def test_a_job_can_be_looked_at_listed_and_erased(url: str, pictures: Path) -> None:
    job_id = darkroom("submit", pictures / "0.png", "--url", url).stdout.strip()
    waited = darkroom("wait", job_id, "--url", url)

    shown = darkroom("job", job_id, "--url", url)
    listed = darkroom("jobs", "--status", "succeeded", "--limit", "1", "--url", url)
    too_late = darkroom("cancel", job_id, "--url", url)
    erased = darkroom("delete", job_id, "--url", url)
    gone = darkroom("job", job_id, "--url", url)

    assert (waited.returncode, shown.returncode, listed.returncode, erased.returncode) == (0, 0, 0, 0)
    assert AN_ID.findall(listed.stdout) == [job_id]
    assert "succeeded" in shown.stdout
    assert (too_late.returncode, too_late.stdout) == (1, "")
    assert erased.stdout == f"{job_id} deleted\n"
    assert (gone.returncode, gone.stdout, gone.stderr.count("\n")) == (1, "", 1)


def test_a_job_that_waits_can_be_waited_for_in_vain_and_canceled(workerless: Stack, pictures: Path) -> None:
    here = ("--url", workerless.gateway.url)
    one, two, three = darkroom("submit", pictures, *here).stdout.split()

    late = darkroom("wait", one, "--timeout", "0.2", *here)
    canceled = darkroom("cancel", one, two, *here)
    waited = darkroom("wait", one, "--json", *here)
    erased = darkroom("delete", one, two, three, *here)

    assert late.returncode == 4
    assert f"darkroom: {one}: The job did not end within 0.2 s." in late.stderr
    assert (canceled.returncode, canceled.stdout) == (0, f"{one} canceled\n{two} canceled\n")
    assert (waited.returncode, json.loads(waited.stdout)[0]["status"]) == (1, "canceled")
    assert erased.returncode == 0, erased.stderr


def test_what_retry_prints_wait_reads(url: str, pictures: Path) -> None:
    good = (pictures / "0.png").read_bytes()
    (pictures / "1.png").write_bytes(good[: len(good) // 2])
    failed = darkroom("submit", pictures / "1.png", "--url", url).stdout.strip()
    darkroom("wait", failed, "--url", url)
    retry, wait = (shlex.join(command(*words)) for words in (("retry", failed), ("wait", "-", "--json")))

    told = program(["bash", "-c", f"{retry} | {wait}"], DARKROOM_URL=url)
    shown = darkroom("job", failed, "--url", url)

    (again,) = json.loads(told.stdout)
    assert (told.returncode, told.stderr) == (1, "")
    assert (again["status"], again["retry_of"], again["attempt"]) == ("failed", failed, 1)
    assert again["id"] in shown.stdout
    assert "1 of 3" in shown.stdout


def test_a_service_that_is_well_has_no_dead_letters(url: str) -> None:
    listed = darkroom("dead-letters", "--json", "--url", url)
    replayed = darkroom("replay", "--all", "--json", "--url", url)

    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert (replayed.returncode, json.loads(replayed.stdout)) == (0, {"replayed": [], "gone": 0})


def test_status_tells_of_the_worker(url: str) -> None:
    told = darkroom("status", "--json", "--url", url)

    assert len(json.loads(told.stdout)["workers"]) == 1


def test_up_tells_its_url_as_json(tmp_path: Path) -> None:
    with the_real_ones(tmp_path, "--workers", "1", "--json") as up:
        until(lambda: up.out.read_text().endswith("\n"), seconds=60, what=up.err.read_text())
        told = json.loads(up.out.read_text())
        status = darkroom("status", "--json", "--url", told["url"])

    assert list(told) == ["url"]
    assert up.out.read_text().count("\n") == 1
    assert status.returncode == 0, status.stderr


def test_one_key_serves_server_and_command(tmp_path: Path, pictures: Path) -> None:
    with the_real_ones(tmp_path / "up", "--workers", "1", X_API_KEY=KEY) as up:
        url = up.url
        key_file = tmp_path / "key"
        key_file.write_text(f"{KEY}\n")
        key_file.chmod(stat.S_IRUSR)

        without = darkroom("status", "--url", url)
        wrong = darkroom("classify", pictures, "--url", url, X_API_KEY="another")
        by_variable = darkroom("classify", pictures, "--url", url, X_API_KEY=KEY)
        by_file = darkroom("jobs", "--url", url, "--key-file", key_file)

    assert (without.returncode, wrong.returncode) == (5, 5)
    assert (without.stdout, wrong.stdout) == ("", "")
    for refused in (without, wrong):
        assert "Give it in X_API_KEY, or in a file with --key-file or X_API_KEY_FILE." in refused.stderr
    assert (by_variable.returncode, by_file.returncode) == (0, 0), by_variable.stderr + by_file.stderr
    everything = "".join(told.stdout + told.stderr for told in (without, wrong, by_variable, by_file))
    assert KEY not in everything + up.err.read_text()


def test_a_key_in_a_file_serves_server_and_command(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")

    with the_real_ones(tmp_path / "up", "--workers", "1", X_API_KEY_FILE=str(key_file)) as up:
        told = darkroom("status", "--url", up.url, X_API_KEY_FILE=str(key_file))
        refused = darkroom("status", "--url", up.url)

    assert (told.returncode, refused.returncode) == (0, 5)
