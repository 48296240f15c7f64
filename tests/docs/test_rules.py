"""The rules of pages bite: what they must find is planted, and they find it."""

import pytest

from tests.docs import rules
from tests.docs.pages import BrokenPage, read


def test_a_fence_that_says_nothing_is_found() -> None:
    page = read("p.md", "# P\n\n```\nmake up\n```\n")

    assert [fault.partition(": ")[0] for fault in rules.unknown_fences(page)] == ["p.md:4"]


@pytest.mark.parametrize("info", ["bash", "sh skip", "console", "shell", "Sh"])
def test_a_fence_of_a_kind_that_nobody_runs_is_found(info: str) -> None:
    page = read("p.md", f"```{info}\nmake up\n```\n")

    assert list(rules.unknown_fences(page))


def test_fences_in_lists_and_of_tildes_are_seen() -> None:
    page = read("p.md", "- one\n\n  ```sh\n  echo a\n    echo b\n  ```\n\n~~~text\n```\n~~~\n")

    assert [(block.info, block.text) for block in page.blocks] == [("sh", "echo a\n  echo b"), ("text", "```")]


def test_a_fence_that_is_never_closed_is_refused() -> None:
    with pytest.raises(BrokenPage, match=r"p\.md:3"):
        read("p.md", "# P\n\n```sh\necho\n")


@pytest.mark.parametrize(
    "code",
    [
        "    make up",
        "\tmake up",
        "> ```sh\n> make up\n> ```",
        "- ```sh\n  make up\n  ```",
        "1.     make up",
        ">     make up",
        "<pre>make up</pre>",
        "- one\n\n      make up",
    ],
)
def test_code_that_is_not_in_a_fence_of_its_own_is_refused(code: str) -> None:
    for above in ("# P\n", "Text.\n\n", "```sh\ntrue\n```\n"):
        with pytest.raises(BrokenPage, match=r"^p\.md:\d: code"):
            read("p.md", f"{above}{code}\n")


def test_the_line_of_refused_code_is_named() -> None:
    with pytest.raises(BrokenPage, match=r"^p\.md:5: code"):
        read("p.md", "# P\n\n- one\n\n      make up\n")


def test_prose_that_goes_on_with_an_indent_is_prose() -> None:
    page = read("p.md", "1. one\n   two\n     three\n\n   four\n> five\n\n2 >      1\n")

    assert not page.blocks


@pytest.mark.parametrize(
    "line",
    ["false && true", "false || true", "false &&\n  true", "no-such-command &", "! true", "set +e", "set +o pipefail"],
)
def test_a_line_that_hides_a_failure_is_found(line: str) -> None:
    page = read("p.md", f"```sh compose\ntrue\n{line}\n```\n")

    assert [fault.partition(": ")[0] for fault in rules.lost_failures(page)] == ["p.md:3"]


def test_lines_that_stop_where_they_fail_are_good() -> None:
    page = read(
        "p.md", "```sh\ncurl 'localhost:8000/v1/jobs?a=1&b=2' 2>&1 | cat\n```\n```python\nprint('a && b')\n```\n"
    )

    assert not list(rules.lost_failures(page))


def test_text_that_is_not_said_to_be_output_is_found() -> None:
    text = "# P\n\nType this:\n\n```text\nmake up\n```\n"

    assert [fault.partition(": ")[0] for fault in rules.unexplained_text(read("docs/p.md", text))] == ["docs/p.md:6"]
    assert list(rules.unexplained_text(read("docs/reference/p.md", text)))
    assert not list(rules.unexplained_text(read("docs/reference/cli.md", text)))


@pytest.mark.parametrize(
    ("info", "text"), [("yaml", "a: [1"), ("yaml", "a: 1\na: 2"), ("yaml", "a:\n\t- 1"), ("json", '{"a"')]
)
def test_data_that_cannot_be_read_is_found(info: str, text: str) -> None:
    page = read("p.md", f'```{info}\n{text}\n```\n```{info}\n{{"a": [1]}}\n```\n')

    assert [fault.partition(": ")[0] for fault in rules.unreadable_data(page)] == ["p.md:2"]


def test_output_without_a_command_is_found() -> None:
    page = read("p.md", "```text\nnot run\n```\n\n```text output\nhello\n```\n")

    assert [fault.partition(": ")[0] for fault in rules.stray_outputs(page)] == ["p.md:6"]


@pytest.mark.parametrize("info", ["sh not-run", "yaml", "json"])
def test_a_block_that_nobody_runs_must_be_owned_up_to(info: str) -> None:
    fence = f"```{info}\ndeploy\n```\n"
    silent = read("p.md", f"# P\n\nText.\n\n## Cloud\n\nType this; do not run it as root.\n\n{fence}")
    honest = read("p.md", f"# P\n\nText.\n\n## Cloud\n\nThis was not run.\n\n{fence}")
    elsewhere = read("p.md", f"# P\n\n## A\n\nThis was not run.\n\n## B\n\n{fence}")
    all_over = read("p.md", f"# P\n\nNothing on this\npage was run.\n\n## Cloud\n\n{fence}")

    assert list(rules.silent_omissions(silent))
    assert list(rules.silent_omissions(elsewhere))
    assert not list(rules.silent_omissions(honest))
    assert not list(rules.silent_omissions(all_over))


@pytest.mark.parametrize(
    "target", ["gone.md", "../gone", "b.md#gone", "#gone", "/docs/gone.md", "../../outside.md", "../code.py#L3"]
)
def test_a_link_to_nowhere_is_found(target: str) -> None:
    pages = {
        "docs/a.md": read("docs/a.md", f"# A\n\nSee [it]({target}).\n"),
        "docs/b.md": read("docs/b.md", "# B\n"),
    }

    faults = list(rules.dead_links(pages, [*pages, "code.py"]))

    assert [fault.partition(": ")[0] for fault in faults] == ["docs/a.md:3"]


def test_a_link_to_nowhere_is_found_where_its_words_are_on_two_lines() -> None:
    pages = {"a.md": read("a.md", "# A\n\n```sh\n[x](no)\n```\n\nSee [what\nthere is](gone.md).\n")}

    faults = list(rules.dead_links(pages, pages))

    assert [fault.partition(": ")[0] for fault in faults] == ["a.md:7"]


def test_links_to_pages_folders_headings_and_the_world_are_good() -> None:
    text = "# A\n\n[b](b.md) [c](b.md#its-own-db-it-has-1) [d](..) [e](sub) [f](#a) [g](https://x.test/y) `[h](gone)`\n"
    pages = {
        "docs/a.md": read("docs/a.md", text),
        "docs/b.md": read("docs/b.md", "# B\n\n## Its own `db`: it has\n\n## Its own `db`: it has\n"),
    }

    assert not list(rules.dead_links(pages, [*pages, "docs/sub/x.png"]))


def test_a_page_that_no_link_leads_to_is_found() -> None:
    pages = {
        "README.md": read("README.md", "[docs](docs/README.md)\n"),
        "docs/README.md": read("docs/README.md", "[a](a.md)\n"),
        "docs/a.md": read("docs/a.md", "# A\n"),
        "docs/island.md": read("docs/island.md", "[a](a.md) [me](island.md)\n"),
    }

    assert [fault.partition(": ")[0] for fault in rules.lost_pages(pages)] == ["docs/island.md"]
