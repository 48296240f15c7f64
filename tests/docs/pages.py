"""A Markdown page as the reader meets it: its fenced blocks, headings, links and prose, each with its line."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

KNOWN: Final = frozenset(
    {
        "sh",
        "sh background",
        "sh compose",
        "sh not-run",
        "python",
        "json",
        "json output",
        "text",
        "text output",
        "yaml",
        "mermaid",
    }
)
"""Every info string that a fence may have. `output` is what the block before it prints."""

_FENCE: Final = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_HEADING: Final = re.compile(r"#{1,6} +(.*)")
_LINK: Final = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_CODE: Final = re.compile(r"(`+).+?\1")
# Markdown shows these as code too: fences in quotes and behind a list's mark, indented text, HTML.
_UNSEEN: Final = re.compile(r"`{3}|~{3}|<pre\b|^\s*(?:>|[-*+]|\d+[.)])(?: {5}|\s*\t)", re.IGNORECASE)
_INDENTED: Final = re.compile(r" {4}| {0,3}\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `line` is that of its first line of text, from 1; `section` is the heading above it."""

    page: str
    line: int
    info: str
    text: str
    section: int

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link to another place of the repository or of the world."""

    line: int
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page; `name` is its path in the repository. `prose[n]` is the text under `headings[n]`, without blocks."""

    name: str
    blocks: tuple[Block, ...]
    headings: tuple[str, ...]
    prose: tuple[str, ...]
    links: tuple[Link, ...]

    @property
    def anchors(self) -> frozenset[str]:
        """What may follow `#` in a link to this page."""
        found: dict[str, int] = {}
        for heading in self.headings[1:]:
            slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
        return frozenset(
            slug if count == 0 else f"{slug}-{count}" for slug, most in found.items() for count in range(most + 1)
        )


class BrokenPage(Exception):
    """A page that cannot be read as Markdown; the message names file and line."""


def read(name: str, text: str) -> Page:
    """The page of this text.

    Raises: BrokenPage for a fence that is never closed, and for code that is not in a fence of its own.
    """
    blocks: list[Block] = []
    headings, prose, outside, above = [""], [""], "", ""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        outside += "\n" * (number - 1 - outside.count("\n"))
        fence = _FENCE.fullmatch(line)
        heading = _HEADING.fullmatch(line)
        if fence:
            body = "\n".join(_until_closed(lines, fence, f"{name}:{number}"))
            blocks.append(
                Block(page=name, line=number + 1, info=fence[3].strip(), text=body, section=len(headings) - 1)
            )
        elif heading:
            headings.append(heading[1])
            prose.append("")
        elif _UNSEEN.search(line) or (_INDENTED.match(line) and not above):
            raise BrokenPage(f"{name}:{number}: code that is not in a fence of its own")
        else:
            prose[-1] += line + "\n"
            outside += _CODE.sub("", line)
        above = "" if fence or heading else line.strip()
    links = tuple(
        Link(line=outside.count("\n", 0, found.start()) + 1, target=found[1]) for found in _LINK.finditer(outside)
    )
    return Page(name=name, blocks=tuple(blocks), headings=tuple(headings), prose=tuple(prose), links=links)


def _until_closed(lines: Iterator[tuple[int, str]], fence: re.Match[str], place: str) -> Iterator[str]:
    indent, marks, _ = fence.groups()
    for _, line in lines:
        if line.strip().startswith(marks) and not line.strip().strip(marks[0]):
            return
        yield line.removeprefix(indent)
    raise BrokenPage(f"{place}: this fence is never closed")


def files(root: Path = ROOT) -> list[str]:
    """Paths of all files that are, or would be, in the repository."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    return sorted(name for name in listed.decode().split("\0") if name and (root / name).is_file())


def every_page(root: Path = ROOT) -> dict[str, Page]:
    """All Markdown pages of the repository, by path."""
    names = [name for name in files(root) if name.endswith(".md")]
    return {name: read(name, (root / name).read_text(encoding="utf-8")) for name in names}
