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


def test_output_without_a_command_is_found() -> None:
    page = read("p.md", "```text\nnot run\n```\n\n```text output\nhello\n```\n")

    assert [fault.partition(": ")[0] for fault in rules.stray_outputs(page)] == ["p.md:6"]


def test_a_block_that_nobody_runs_must_be_owned_up_to() -> None:
    silent = read("p.md", "# P\n\nText.\n\n## Cloud\n\nType this.\n\n```sh not-run\ndeploy\n```\n")
    honest = read("p.md", "# P\n\nText.\n\n## Cloud\n\nThis was not run.\n\n```sh not-run\ndeploy\n```\n")
    elsewhere = read("p.md", "# P\n\n## A\n\nThis was not run.\n\n## B\n\n```sh not-run\ndeploy\n```\n")
    all_over = read("p.md", "# P\n\nNothing on this\npage was run.\n\n## Cloud\n\n```sh not-run\ndeploy\n```\n")

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
