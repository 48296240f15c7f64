"""Room for bodies: how many bytes of them are in memory at a time, on their way from callers to the store."""

from types import TracebackType
from typing import Self

from shared.errors import QueueFull


class Room:
    """Room for `limit` bytes, shared by all requests of a process."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def share(self) -> "Share":
        """One request's share."""
        return Share(self)

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
    """What one request has taken of a room; all of it is given back at the latest when its block ends."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()

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
