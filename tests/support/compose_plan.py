"""docker-compose.yml and the Dockerfiles as a plan that can be asked, and broken."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML

from tests.support.programs import ROOT

MIB: Final = 1024 * 1024

_UNITS: Final = {"kb": 1024, "m": MIB, "mb": MIB, "g": 1024 * MIB, "gb": 1024 * MIB}

Service: TypeAlias = dict[str, Any]
Instruction: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The docker-compose.yml as it is without any settings, its text, and the Dockerfiles' texts by name."""

    document: dict[str, Any]
    text: str
    dockerfiles: dict[str, str]

    @property
    def services(self) -> dict[str, Service]:
        return dict(self.document["services"])

    def instructions(self, dockerfile: str) -> list[Instruction]:
        """A Dockerfile's instructions, each a word in capitals and the rest on one line."""
        lines = [line for line in self.dockerfiles[dockerfile].splitlines() if not line.lstrip().startswith("#")]
        whole = re.sub(r"\\\n", " ", "\n".join(lines))
        pairs = [line.split(None, 1) for line in whole.splitlines() if line.strip()]
        return [(word.upper(), " ".join(rest.split())) for word, rest in pairs]


def as_it_stands() -> Plan:
    """A plan of its own for whoever asks."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    # From JSON, so that what the anchors share is shared no longer and can be broken one by one.
    document = json.loads(_read(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)))
    dockerfiles = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("Dockerfile*")}
    return Plan(document=document, text=text, dockerfiles=dockerfiles)


@cache
def _read(text: str) -> str:
    return json.dumps(YAML(typ="safe", pure=True).load(text))


def size(text: object) -> int:
    """Bytes of a size as Compose and Redis write them; 0 for what is none."""
    found = re.fullmatch(r"([0-9]+)(kb|mb?|gb?)", str(text))
    return int(found[1]) * _UNITS[found[2]] if found else 0


def seconds(text: object) -> int:
    """Seconds of a time; 0 for what is none."""
    found = re.fullmatch(r"([0-9]+)s", str(text))
    return int(found[1]) if found else 0
