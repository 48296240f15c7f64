"""What every figure is measured with: the pictures, the floor, the callers, and how much of each."""

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from benchmarks import bare, pictures
from benchmarks.apart import Apart
from benchmarks.expectation import expect
from benchmarks.load import Callers, Load, Order
from benchmarks.pictures import KINDS, Kind

THRESHOLD: Final = 0.0
"""Every label is answered, so that every score can be checked."""

_FLOOR: Final[Mapping[str, int]] = MappingProxyType(
    {"224x224": 480, "640x480": 120, "1920x1080": 28, "1920x1080-png": 12, "4000x3000": 6},
)
"""How many pictures a floor takes: half a second's, or each one twice."""

_REQUESTS: Final[Mapping[str, int]] = MappingProxyType(
    {"224x224": 900, "640x480": 400, "1920x1080": 240, "1920x1080-png": 90, "4000x3000": 60},
)
_LONGEST_S: Final = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: so many rounds, each of `share` of the usual size."""

    rounds: int = 5
    share: float = 1.0

    def of(self, usual: int) -> int:
        """So much of the usual."""
        return max(round(usual * self.share), 1)


class Bench:
    """The pictures of a run and the two programs that stay the same throughout it."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self._opened = ExitStack()
        self._folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        self._bodies: dict[str, list[str]] = {}
        self._answers: dict[str, list[str]] = {}
        self._loop = self._opened.enter_context(Apart("benchmarks.bare"))
        self._forgetful = self._opened.enter_context(Apart("benchmarks.bare", bare.FORGETFUL))
        self._callers = self._opened.enter_context(Callers())

    def bodies(self, kind: str) -> list[str]:
        """Files of requests' bodies, one for each picture of this kind."""
        if kind not in self._bodies:
            self._bodies[kind] = [_body(path) for path in self.images(KINDS[kind])]
        return self._bodies[kind]

    def images(self, kind: Kind) -> list[Path]:
        """The pictures' own files."""
        found = sorted(self._folder.glob(f"{kind.name}-*.{kind.format.lower()}"))
        return found or pictures.make(kind, self._folder)

    def floor(self, kind: str, *, forgetful: bool = False) -> float:
        """Seconds of processor time that the bare loop takes for one picture of this kind, now.

        `forgetful`: in a process that gives what it frees back to the system.
        """
        order = {"bodies": self.bodies(kind), "pictures": self.effort.of(_FLOOR[kind]), "seconds": _LONGEST_S}
        return float((self._forgetful if forgetful else self._loop)(order)["cpu_s"])

    def expected(self, url: str, kind: str, *, exact: bool) -> list[str]:
        """What every answer to this kind starts with, once its first answers agree with the bare loop's.

        Raises: WrongAnswer.
        """
        if kind not in self._answers:
            self._answers[kind] = self._loop({"bodies": self.bodies(kind), "answers": True})["answers"]
        firsts = [self.send(url, [body], [""], requests=1).first for body in self.bodies(kind)]
        return [expect(first, loops, exact=exact) for first, loops in zip(firsts, self._answers[kind], strict=True)]

    def send(  # noqa: PLR0913  # an order has as many terms
        self,
        url: str,
        bodies: Sequence[str],
        expected: Sequence[str],
        *,
        requests: int,
        connections: int = 1,
        seconds: float = _LONGEST_S,
        status: int = 200,
    ) -> Load:
        """Send so many requests, and check every answer.

        Raises: WrongAnswer.
        """
        order = Order(
            url=url,
            bodies=bodies,
            expected=expected,
            connections=min(connections, requests),
            requests=requests,
            seconds=seconds,
            status=status,
        )
        return self._callers.send(order)

    def load(self, url: str, kind: str, expected: Sequence[str], connections: int, *, requests: int = 0) -> Load:
        """Send pictures of this kind, as many as usual or so many.

        Raises: WrongAnswer.
        """
        many = requests or max(self.effort.of(_REQUESTS[kind]), connections)
        return self.send(url, self.bodies(kind), expected, requests=many, connections=connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def _body(path: Path) -> str:
    body = path.with_suffix(".json")
    image = base64.b64encode(path.read_bytes()).decode()
    body.write_text(json.dumps({"image_base64": image, "confidence_threshold": THRESHOLD}), encoding="ascii")
    return str(body)
