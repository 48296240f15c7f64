"""What a page must keep to beside that its commands work. Every rule gives the faults it finds, as sentences."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.docs.pages import KNOWN, Block, Page
from tools import references

DOORS: Final = ("README.md", "docs/README.md")
"""The pages that a reader starts from."""

ASIDE: Final = frozenset({"CHANGELOG.md"})
"""Pages that need no link to them: they stand where everybody looks."""

DATA: Final = frozenset({"json", "yaml"})
"""Fences of what a reader writes into files; nothing loads it."""

_GENERATED: Final = frozenset(f"docs/reference/{name}" for name in references.PAGES)
_ADMITS: Final = re.compile(r"\b(was|were)\s+not\s+run\b|\bNothing\b[^.]*\bwas\s+run\b")
_LOSES: Final = re.compile(r"&&|\|\||&[ \t]*$|^[ \t]*!|\bset \+", re.MULTILINE)
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:")


def unknown_fences(page: Page) -> Iterator[str]:
    """Every fence says what it holds, in a word that the runner knows."""
    for block in page.blocks:
        if block.info not in KNOWN:
            yield f"{block.place}: no fence is called {block.info!r}; known are {', '.join(sorted(KNOWN))}"


def stray_outputs(page: Page) -> Iterator[str]:
    """What is shown as output follows what printed it."""
    before: Block | None = None
    for block in page.blocks:
        if block.info.endswith(" output") and (before is None or before.info not in {"sh", "sh compose", "python"}):
            yield f"{block.place}: there is no command before this output"
        before = block


def lost_failures(page: Page) -> Iterator[str]:
    """No executed line goes on after a command that failed: bash's `set -e` and its ERR trap do not see these."""
    for block in page.blocks:
        lost = _LOSES.search(block.text) if block.info in {"sh", "sh background", "sh compose"} else None
        if lost:
            line = block.line + block.text.count("\n", 0, lost.start())
            yield f"{page.name}:{line}: {lost[0].strip()!r} may hide a failure; write a line for each command"


def unexplained_text(page: Page) -> Iterator[str]:
    """What is neither a command nor its output is on a page that is made from the code, and compared with it."""
    for block in page.blocks:
        if block.info == "text" and page.name not in _GENERATED:
            yield f"{block.place}: say `text output` of what a command prints, and `sh` of what a reader types"


def unreadable_data(page: Page) -> Iterator[str]:
    """What a reader is to write into a file can be read."""
    for block in page.blocks:
        if block.info in DATA:
            try:
                # Every JSON is YAML.
                YAML(typ="safe").load(block.text)
            except YAMLError as error:
                yield f"{block.place}: {error}"


def silent_omissions(page: Page) -> Iterator[str]:
    """What nothing executes or loads stands under a heading, or on a page, that says so in a sentence."""
    for block in page.blocks:
        # The text under a page's title speaks for all of it.
        told = page.prose[block.section] + page.prose[min(1, len(page.prose) - 1)]
        if block.info in {"sh not-run", *DATA} and not _ADMITS.search(told):
            yield f"{block.place}: neither this section nor the page's head says that this was not run"


def dead_links(pages: Mapping[str, Page], existing: Collection[str]) -> Iterator[str]:
    """Every relative link leads to a file, a folder or a heading that is there."""
    folders = {str(parent) for name in existing for parent in PurePosixPath(name).parents}
    for page in pages.values():
        for link in page.links:
            if _ELSEWHERE.match(link.target):
                continue
            target, anchor = _resolved(page, link.target)
            if target not in existing and target not in folders:
                yield f"{page.name}:{link.line}: there is no {link.target}"
            elif anchor and (target not in pages or anchor not in pages[target].anchors):
                yield f"{page.name}:{link.line}: there is no heading for {link.target}"


def lost_pages(pages: Mapping[str, Page]) -> Iterator[str]:
    """Every page can be reached by links from one of the doors."""
    seen: set[str] = set()
    left = [name for name in DOORS if name in pages]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            targets = (_resolved(pages[name], link.target)[0] for link in pages[name].links)
            left += [target for target in targets if target in pages]
    for name in sorted(pages.keys() - seen - ASIDE):
        yield f"{name}: no link leads here from {' or '.join(DOORS)}"


def _resolved(page: Page, target: str) -> tuple[str, str]:
    path, _, anchor = target.partition("#")
    if not path:
        return page.name, anchor
    parts: list[str] = [] if path.startswith("/") else list(PurePosixPath(page.name).parent.parts)
    for part in PurePosixPath(path.lstrip("/")).parts:
        if part == "..":
            # Above the repository there is nothing to link to; the empty name is never found.
            if not parts:
                return "", anchor
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or ".", anchor
