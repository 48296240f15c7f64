"""A walk notices what a reader would stumble over: pages with mistakes are planted, and each fails with its place."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, read
from tests.docs.shells import BlockFailed
from tests.docs.walks import COMPOSE, NATIVE, a_walk
from tests.support.stub_server import stub_server
from tests.support.ups import is_alive
from tests.support.waiting import until


def walk_through(folder: Path, *lines: str, kinds: frozenset[str] = NATIVE, patience_s: float = 30) -> None:
    with a_walk(folder, kinds=kinds, patience_s=patience_s) as walk:
        walk.through(read("docs/p.md", "\n".join(lines)))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("false", "exit status 1"),
        ("false | true", "exit status 1"),
        ("echo $nobody_set_it", "unbound variable"),
        ("no-such-command", "command not found"),
        ("exit 3", "exit status 3"),
    ],
)
def test_a_command_that_fails_fails_its_page(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(BlockFailed, match=rf"(?s)^docs/p\.md:\d+: .*{says}"):
        walk_through(tmp_path, "# P", "", "```sh", "echo fine", line, "echo not reached > reached", "```")

    assert not (tmp_path / "checkout" / "reached").exists()


@pytest.mark.parametrize(
    "line",
    [
        'export WORD="$(no-such-command)"',
        'echo "$(false; echo hello)"',
        "for word in $(false); do echo $word; done",
        "set +e; false; true",
    ],
)
def test_a_failure_whose_status_is_lost_fails_its_page(tmp_path: Path, line: str) -> None:
    with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:2: .*failure was lost"):
        walk_through(tmp_path, "```sh", line, "echo fine", "```")


@pytest.mark.parametrize("lines", [("return 0", "false"), ("return", "false"), ("exit 0", "false"), ("cat << END",)])
def test_a_block_that_is_left_before_its_end_fails_its_page(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:2: "):
        walk_through(tmp_path, "```sh", *lines, "```")


def test_a_last_line_of_which_only_half_is_done_fails_its_page(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:2: "):
        walk_through(tmp_path, "```sh", "false && true", "```")


def test_a_block_that_forgives_failures_does_so_for_itself_only(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:5: "):
        walk_through(tmp_path, "```sh", "set +eu +o pipefail", "```", "```sh", "false | true", "touch reached", "```")

    assert not (tmp_path / "checkout" / "reached").exists()


@pytest.mark.parametrize(
    "command", ["curl {0}", "curl --silent {0} | cat", "echo {0} | xargs -n 1 curl", "echo $(curl {0})"]
)
def test_an_answer_that_is_a_problem_fails_its_page(tmp_path: Path, command: str) -> None:
    with stub_server() as url:
        asked = command.format(f"{url}/v1/jobs/job_absent")
        with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:2: .*job-not-found"):
            walk_through(tmp_path, "```sh", asked, "```", "```json output", "…", "```")


def test_a_problem_that_is_shown_is_compared(tmp_path: Path) -> None:
    curl = ("```sh", "curl {0}/v1/jobs/job_absent", "```")
    good, bad = (("```json output", f'…"status": {status},…', "```") for status in (404, 401))

    with stub_server() as url:
        asked = tuple(line.format(url) for line in curl)
        walk_through(tmp_path / "good", *asked, *good)
        with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:5: .*401.*404"):
            walk_through(tmp_path / "bad", *asked, *bad)
        with pytest.raises(BlockFailed, match=r"^docs/p\.md:8: "):
            walk_through(tmp_path / "next", *asked, *good, *asked)


def test_the_line_that_failed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:9: "):
        walk_through(tmp_path, "# P", "", "```sh", "true", "```", "", "```sh", "true", "false", "```")


def test_a_python_line_that_raises_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:3: .*ZeroDivisionError"):
        walk_through(tmp_path, "```python", "x = 0", "1 / x", "```")


def test_another_output_than_the_page_shows_fails_it(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:6: the page shows.*Bird.*Reptile"):
        walk_through(tmp_path, "```sh", "echo Reptile", "```", "", "```text output", "Bird", "```")


def test_a_block_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:2: not done after"):
        walk_through(tmp_path, "```sh", "tail -f /dev/null", "```", patience_s=0.5)


def test_another_terminal_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"^docs/p\.md:2: no `ready`"):
        walk_through(tmp_path, "```sh background", "tail -f /dev/null", "```", patience_s=0.5)


def test_another_terminal_that_ends_fails_its_page(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"(?s)^docs/p\.md:2: exit status 2.*no"):
        walk_through(tmp_path, "```sh background", "echo no >&2; exit 2", "```")


def test_variables_and_names_carry_over_from_block_to_block(tmp_path: Path) -> None:
    walk_through(
        tmp_path,
        *("```sh", "word=hello; cd docs", "```"),
        *("```python", "number = 40", "```"),
        *("```sh", 'echo "$word $(basename "$PWD")"', "```", "```text output", "hello docs", "```"),
        *("```python", "print(number + 2)", "```", "```text output", "42", "```"),
    )


def test_only_the_asked_for_kinds_are_executed(tmp_path: Path) -> None:
    text = ("```sh", "false", "```", "```sh not-run", "false", "```", "```json", "{}", "```")

    walk_through(tmp_path, *text, "```sh compose", "touch made", "```", kinds=COMPOSE)

    assert (tmp_path / "checkout" / "made").exists()


def test_what_runs_in_the_background_ends_with_its_page(tmp_path: Path) -> None:
    terminal = (
        "```sh background",
        "trap 'touch interrupted; exit' INT",
        "echo ready at once; while true; do sleep 0.1; done",
        "```",
    )
    jobs = ("```sh", "sleep 600 & echo $! > job", "```")

    walk_through(tmp_path, *terminal, *jobs)

    job = int((tmp_path / "checkout" / "job").read_text())
    assert (tmp_path / "checkout" / "interrupted").exists()
    until(lambda: not is_alive(job), what="the background job to end")


def test_what_runs_in_the_background_ends_with_a_page_that_fails(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed):
        walk_through(tmp_path, "```sh", "sleep 600 & echo $! > job", "false", "```")

    job = int((tmp_path / "checkout" / "job").read_text())
    until(lambda: not is_alive(job), what="the background job to end")


def test_nothing_that_a_page_does_reaches_the_working_copy(tmp_path: Path) -> None:
    walk_through(tmp_path, "```sh", "echo scribble >> README.md", "rm -r examples gateway", "touch ~/note", "```")

    assert "scribble" not in (ROOT / "README.md").read_text()
    assert (ROOT / "gateway").exists()
    assert (tmp_path / "home" / "note").exists()


def test_the_port_of_the_pages_stands_for_a_free_one(tmp_path: Path) -> None:
    line = 'echo "$DARKROOM_PORT $DARKROOM_URL http://localhost:8000 127.0.0.1:8000 8000 1127.0.0.1:80001"'
    with a_walk(tmp_path) as walk:
        port = walk.port
        walk.through(read("p.md", f"```sh\n{line} | tee said\n```\n```text output\n… http://localhost:8000 …\n```"))

    said = (tmp_path / "checkout" / "said").read_text().split()
    local = f"127.0.0.1:{port}"
    assert said == [str(port), f"http://{local}", f"http://localhost:{port}", local, "8000", "1127.0.0.1:80001"]
