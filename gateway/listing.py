"""Lists of jobs: a page, and the cursor that goes on from its end."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Self

from shared.errors import InvalidRequest
from shared.jobs import Job
from shared.store import Page

_CURSOR: Final = re.compile(rb"[0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of jobs and the cursor of the next one."""

    jobs: tuple[Job, ...]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page) -> Self:
        """A page of the store."""
        return cls(jobs=page.jobs, next_cursor=None if page.next_before is None else _cursor(page.next_before))


def before(cursor: str | None) -> int | None:
    """Where in the store the page of this cursor begins; None is the first.

    Raises: InvalidRequest for a cursor that is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"==")
    except (binascii.Error, ValueError):
        text = b""
    if not _CURSOR.fullmatch(text):
        sentence = "This is no cursor that a page named."
        raise InvalidRequest("The cursor cannot be read.", (("#/cursor", sentence),))
    return int(text)


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")
