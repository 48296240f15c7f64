"""Room for bodies: how many bytes of them are in memory at a time, on their way from callers to the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import QueueFull


class Room:
    """Room for `limit` bytes, shared by all requests of a process."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's share, given back at the latest when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()

    def take(self, size: int) -> None:
        """Take so many bytes.

        Raises: QueueFull if there are not so many left.
        """
        if size > self._left:
            raise QueueFull("Too many bytes are on their way in just now.", retry_after_s=1)
        self._left -= size

    def give_back(self, size: int) -> None:
        """Give so many bytes back."""
        self._left += size


class Share:
    """What one request has taken of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0

    def take(self, size: int) -> None:
        """Take so many bytes more.

        Raises: QueueFull.
        """
        self._room.take(size)
        self._taken += size

    def give_back(self) -> None:
        """Give all of it back; once is enough."""
        self._room.give_back(self._taken)
        self._taken = 0
