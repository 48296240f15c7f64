"""What our pages say is so: their commands work and print what is shown, and their links lead somewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs import rules
from tests.docs.pages import Page, every_page, files
from tests.docs.walks import NATIVE, a_walk, executes

PAGES = every_page()
WALKED = [page for page in PAGES.values() if executes(page, NATIVE)]


@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_what_a_page_tells_its_reader_to_do_works(page: Page, tmp_path: Path) -> None:
    with a_walk(tmp_path) as walk:
        walk.through(page)


@pytest.mark.parametrize(
    "rule",
    [
        rules.unknown_fences,
        rules.stray_outputs,
        rules.lost_failures,
        rules.unexplained_text,
        rules.unreadable_data,
        rules.silent_omissions,
    ],
    ids=lambda rule: rule.__name__,
)
def test_every_page_keeps_the_rules_of_fences(rule: Callable[[Page], Iterator[str]]) -> None:
    faults = [fault for page in PAGES.values() for fault in rule(page)]

    assert not faults, "\n".join(faults)


def test_every_link_between_pages_leads_somewhere() -> None:
    faults = list(rules.dead_links(PAGES, files()))

    assert not faults, "\n".join(faults)


def test_every_page_can_be_reached_from_a_door() -> None:
    faults = list(rules.lost_pages(PAGES))

    assert not faults, "\n".join(faults)
