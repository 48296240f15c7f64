"""The command `darkroom`, as a person or a script sees it."""

import errno
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from darkroom import AnswerTimeout, AsyncClient, Client, cli, up
from darkroom.transport import DEFAULT_URL
from tests.support.command_line import run
from tests.support.redis_server import free_port
from tests.support.stub_server import stub_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stub_server() as place:
        yield place


def pictures(folder: Path, **says: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in says.items():
        (folder / f"{name}.png").write_text(text)
    return folder


def test_good_pictures_are_rows_and_exit_status_0(url: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path, one="bird", two="nothing")

    result = run("classify", folder, "--url", url)

    assert result.exit_code == 0, result.output
    heading, _, first, second = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert heading == ["file", "label", "confidence", "work", "ms", "queue", "ms"]
    assert first == [str(folder / "one.png"), "Bird", "0.910", "7.4", "2.5"]
    assert second == [str(folder / "two.png"), "-", "-", "7.4", "2.5"]


def test_a_bad_picture_is_a_row_with_its_reason_and_exit_status_1(url: str, tmp_path: Path) -> None:
    pictures(tmp_path, a="bad", b="bird", c="fails")

    result = run("classify", tmp_path, tmp_path / "absent.png", "--url", url)

    assert result.exit_code == 1
    for reason in ("Not a picture.", "A sentence about invalid-image.", "No such file or directory.", "Bird"):
        assert reason in result.stdout
    assert result.stderr == ""


def test_json_has_every_prediction_and_null_where_there_is_none(url: str, tmp_path: Path) -> None:
    pictures(tmp_path, a="bird", b="bad")

    result = run("classify", tmp_path, "--url", url, "--json")

    good, bad = json.loads(result.stdout)
    assert good == {
        "file": str(tmp_path / "a.png"),
        "label": "Bird",
        "confidence": 0.91,
        "predictions": [{"label": "Bird", "confidence": 0.91}],
        "work_ms": 7.4,
        "queue_ms": 2.5,
        "job_id": "job_bird",
        "error": None,
    }
    assert (bad["label"], bad["error"]) == (None, "Not a picture.")


def test_folders_are_searched_all_the_way_down_for_pictures_only(url: str, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for name in ("z.JPG", "notes.txt", "y.webp"):
        (deep / name).write_text("bird")
    (tmp_path / "explicit").write_text("bird")

    result = run("classify", tmp_path / "a", tmp_path / "explicit", "--url", url, "--json")

    assert [Path(row["file"]).name for row in json.loads(result.stdout)] == ["y.webp", "z.JPG", "explicit"]


def test_many_pictures_keep_their_order(url: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path, **{f"p{number:02}": "bird" for number in range(30)})

    result = run("classify", folder, "--url", url, "--json")

    assert [Path(row["file"]).stem for row in json.loads(result.stdout)] == [f"p{number:02}" for number in range(30)]


def test_a_broken_connection_is_one_row_and_not_the_end(url: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path, a="hangs up", b="bird")

    result = run("classify", folder, "--url", url, "--json")

    broken, good = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "the connection broke" in broken["error"]
    assert good["label"] == "Bird"


def test_names_that_a_terminal_would_obey_are_shown_tamed(url: str, tmp_path: Path) -> None:
    (tmp_path / "\x1b[31mred[bold].png").write_text("bird")

    result = run("classify", tmp_path, "--url", url)

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[31mred[bold].png" in result.stdout


@pytest.mark.parametrize("command", ["classify", "submit"])
def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(url: str, tmp_path: Path, command: str) -> None:
    good, bad = tmp_path / "good\udcff\udc80.png", tmp_path / "bad\udcff.png"
    good.write_text("bird")
    bad.write_text("bad")

    told = run(command, good, bad, "--url", url)
    as_json = run(command, good, bad, "--url", url, "--json")

    assert told.exit_code == as_json.exit_code == 1
    assert "bad\ufffd.png" in told.output
    files = [row["file"] for row in json.loads(as_json.stdout_bytes.decode("utf-8"))]
    assert files[0] == str(tmp_path / "good\ufffd\ufffd.png")


def test_a_picture_that_is_not_done_in_time_is_a_row_and_exit_status_4(url: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path, a="queued", b="bad", c="bird")

    result = run("classify", folder, "--timeout", "0.1", "--url", url, "--json")

    late, bad, good = json.loads(result.stdout)
    assert result.exit_code == 4
    assert late["job_id"] == "job_queued"
    assert late["error"].startswith("The job did not end within 0.1 s. It is queued")
    assert (bad["error"], good["label"]) == ("Not a picture.", "Bird")


def test_what_was_submitted_before_the_end_is_told(url: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path, a="bird", b="forbidden", c="bird")

    told = run("submit", folder, "--url", url)
    as_json = run("submit", folder, "--url", url, "--json")

    assert (told.exit_code, told.stdout) == (5, "job_bird\n" * 2)
    assert as_json.exit_code == 5
    assert [row["file"] for row in json.loads(as_json.stdout)] == [str(folder / "a.png"), str(folder / "c.png")]


def test_a_folder_that_cannot_be_listed_is_a_row(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path, a="bird")
    closed = folder / "closed"
    closed.mkdir()
    real = os.scandir

    def scandir(path: Any) -> Any:
        # Whoever is allowed everything, as tests often are, can list every folder.
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(closed))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)

    result = run("classify", folder, "--url", url, "--json")

    good, bad = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (good["label"], bad["file"]) == ("Bird", str(closed))
    assert bad["error"]


@pytest.mark.parametrize("name", ["x" * 300, "closed/a.png"])
@pytest.mark.parametrize("command", ["classify", "submit"])
def test_a_place_that_cannot_be_looked_at_is_one_pictures_bad_luck(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    folder = pictures(tmp_path, a="bird")
    real = os.stat

    def refuse(place: Any, **options: Any) -> os.stat_result:
        if "closed" in str(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return real(place, **options)

    # Root may look everywhere.
    monkeypatch.setattr(os, "stat", refuse)

    result = run(command, tmp_path / name, folder / "a.png", "--url", url, COLUMNS="1000")

    assert result.exit_code == 1
    assert ("File name too long" if name[0] == "x" else "Permission denied") in result.output
    assert ("Bird" if command == "classify" else "job_bird") in result.stdout


def late(*_: object, **__: object) -> None:
    raise AnswerTimeout("http://host", "it took too long")


def test_a_single_call_without_an_answer_in_time_is_exit_status_4(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "status", late)

    result = run("status", "--url", url)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "darkroom: No answer from http://host: it took too long.\n"


@pytest.mark.parametrize("command", ["classify", "submit"])
def test_a_picture_without_an_answer_in_time_is_told_and_exit_status_1(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    folder = pictures(tmp_path, a="bird", b="bird")
    real = getattr(AsyncClient, command)
    monkeypatch.setattr(
        AsyncClient,
        command,
        lambda client, image, **wishes: late() if Path(image).name == "a.png" else real(client, image, **wishes),
    )

    result = run(command, folder, "--url", url)

    assert result.exit_code == 1
    assert "it took too long" in result.output
    assert ("Bird" if command == "classify" else "job_bird") in result.stdout


@pytest.mark.parametrize("command", [["status"], ["submit", __file__]])
def test_surroundings_that_are_of_no_use_are_one_sentence_and_exit_status_2(command: list[str]) -> None:
    result = run(*command, "--url", "http://darkroom.example", HTTP_PROXY="foo://bob:hunter2@host")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("darkroom: The environment's proxy")
    assert "hunter2" not in result.stderr


def test_a_folder_without_pictures_is_wrong_use(tmp_path: Path) -> None:
    result = run("classify", tmp_path)

    assert result.exit_code == 2
    assert result.stderr == f"darkroom: {tmp_path}: there are no pictures in there.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify"],
        ["classify", "--threshold", "1.5", "x"],
        ["classify", "--timeout", "nan", "x"],
        ["wait", "--timeout", "-1", "x"],
        ["submit", "--top-k", "0", "x"],
        ["submit", "--priority", "highest", "x"],
        ["jobs", "--status", "unknown"],
        ["job"],
        ["nonsense"],
        ["up", "--workers", "0"],
    ],
)
def test_wrong_use_is_exit_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["jobs"],
        ["job", "job_1"],
        *([command, "job_1", "job_2"] for command in ("wait", "cancel", "retry", "replay", "delete")),
        ["dead-letters"],
        ["replay", "--all"],
        *([command, __file__] for command in ("classify", "submit")),
    ],
)
def test_a_server_that_is_not_there_is_one_sentence_and_exit_status_3(arguments: list[str], options: list[str]) -> None:
    host, port = "127.0.0.1", free_port()

    result = run(*arguments, *options, "--url", f"http://{host}:{port}")

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"http://{host}:{port}" in result.stderr


@pytest.mark.parametrize(("place", "shown"), [("here", "here"), ("\udcff", "\ufffd")])
def test_what_is_no_url_is_wrong_use(place: str, shown: str) -> None:
    result = run("status", "--url", place)

    assert result.exit_code == 2
    assert result.stderr == f"darkroom: '{shown}' is not a URL of http or https, like http://localhost:8000.\n"


def test_the_url_may_come_from_the_environment(url: str) -> None:
    assert run("status", DARKROOM_URL=url).exit_code == 0


def test_status_tells_what_the_service_does(url: str) -> None:
    result = run("status", "--url", url)

    for fact in ("mock@1", "5 succeeded", "0 waiting", "0 ms", "worker w1", "idle", "80 MB", "heard 0.4 s ago"):
        assert fact in result.stdout


def test_status_as_json_has_the_same_names_as_the_server(url: str) -> None:
    document: dict[str, Any] = json.loads(run("status", "--url", url, "--json").stdout)

    assert document["queue"] == {"depth": 0, "oldest_age_s": None, "estimated_wait_ms": 0}
    assert document["workers"][0]["rss_bytes"] == 80_000_000


@pytest.mark.parametrize(
    ("job_id", "facts"),
    [
        ("job_bird", ["succeeded", "Bird 0.910", "mock@1", "7.4", "2026-01-02T03:04:05"]),
        ("job_nothing", ["none at 0.5 or above"]),
        ("job_fails", ["failed", "invalid-image: A sentence about invalid-image."]),
        ("job_queued", ["queued", "4 (capacity)"]),
    ],
)
def test_a_job_tells_what_is_known_of_it(url: str, job_id: str, facts: list[str]) -> None:
    result = run("job", job_id, "--url", url)

    assert result.exit_code == 0
    for fact in (job_id, *facts):
        assert fact in result.stdout


def test_a_job_as_json_has_its_times(url: str) -> None:
    document = json.loads(run("job", "job_bird", "--url", url, "--json").stdout)

    assert document["created_at"] == "2026-01-02T03:04:05.678901+00:00"
    assert document["result"]["predictions"] == [{"label": "Bird", "confidence": 0.91}]


def test_a_job_that_is_not_there_is_one_sentence_and_exit_status_1(url: str) -> None:
    result = run("job", "job_absent", "--url", url)

    assert result.exit_code == 1
    assert result.stderr == "darkroom: There is no such job.\n"


def test_up_without_the_servers_parts_says_what_to_install() -> None:
    def present(module: str) -> object:
        return None if module in {"PIL", "fastapi"} else importlib.util.find_spec(module)

    with pytest.raises(up.Refused, match=r"pip install 'darkroom\[gateway,worker\]'"):
        up.refuse_missing_parts(present)


def test_up_elsewhere_than_on_linux_points_to_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    result = run("up")

    assert result.exit_code == 2
    assert "docker compose" in result.stderr


def test_up_runs_what_it_was_asked_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[up.Stack] = []

    def fake(stack: up.Stack, environ: Mapping[str, str]) -> int:
        asked.append(stack)
        return 5

    monkeypatch.setattr(up, "up", fake)

    result = run("up", "--port", "8123", "--workers", "3", "--gateways", "2", "--data", tmp_path)

    assert result.exit_code == 5
    (stack,) = asked
    assert (stack.port, stack.workers, stack.gateways, stack.data) == (8123, 3, 2, tmp_path)
    assert not stack.as_json


def test_up_leaves_it_to_the_machine_how_many_workers_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[up.Stack] = []
    monkeypatch.setattr(up, "up", lambda stack, _environ: asked.append(stack))

    run("up")

    assert (asked[0].workers, asked[0].gateways) == (None, 1)


def test_the_version_is_the_installed_one() -> None:
    result = run("--version")

    assert (result.exit_code, result.stdout) == (0, f"darkroom {importlib.metadata.version('darkroom')}\n")


def test_the_url_unless_told_is_the_librarys() -> None:
    assert cli.DEFAULT_URL == DEFAULT_URL
