"""Whether every accepted job ended, exactly once: told from the files alone that a run left behind."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.faults.load import ACCEPTED, REFUSED, SIGHTINGS
from tests.faults.scenario import Figure, Report
from tests.faults.watching import ENDINGS, LEFTOVERS

_ENDS: Final = frozenset({"succeeded", "failed", "canceled", "expired"})
_SAME: Final = ("status", "code", "attempt", "finished_s")
_SHOWN: Final = 3

Codes = Mapping[str, Collection[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Figures, and a sentence for each promise that was broken."""

    figures: dict[str, Figure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def limit(self, name: str, most: float) -> None:
        """A problem where this figure is larger."""
        figure = self.figures.get(name)
        if isinstance(figure, (int, float)) and figure > most:
            self.problems.append(f"{name} is {figure}, more than {most}")
            if name.endswith("_s"):
                self.late.append(self.problems[-1])

    def least(self, name: str, least: float) -> None:
        """A problem where this figure is smaller, or there is none."""
        figure = self.figures.get(name)
        if not isinstance(figure, (int, float)) or figure < least:
            self.problems.append(f"{name} is {figure}, less than {least}")

    def report(self, **figures: Figure) -> Report:
        """All of it, and these figures."""
        return Report(figures={**self.figures, **figures}, problems=tuple(self.problems), late=tuple(self.late))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the files of a run say."""

    accepted: dict[str, dict[str, Any]]
    promises: Counter[str]
    """To how many idempotency keys each job was promised."""
    refused: list[dict[str, Any]]
    first: dict[str, dict[str, Any]]
    final: dict[str, dict[str, Any]]
    published: Counter[str]
    outcomes: dict[str, list[str]]
    """Of each job what workers said became of it for good: neither what came too late nor setbacks."""
    late: int
    ids: list[str] | None
    held: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> "Evidence":
        """What there is in `folder`."""
        promised = lines(folder / ACCEPTED)
        sightings = lines(folder / SIGHTINGS)
        leftovers = folder / LEFTOVERS
        told = json.loads(leftovers.read_text(encoding="utf-8")) if leftovers.exists() else {"ids": None, "held": {}}
        outcomes, late = _outcomes(folder)
        return cls(
            accepted={line["id"]: line for line in promised},
            promises=Counter(line["id"] for line in promised),
            refused=lines(folder / REFUSED),
            first={line["id"]: line for line in reversed(sightings) if line["sight"] == "first"},
            final={line["id"]: line for line in sightings if line["sight"] == "final"},
            published=Counter(line["id"] for line in lines(folder / ENDINGS)),
            outcomes=outcomes,
            late=late,
            ids=told["ids"],
            held=told["held"],
        )


def judge(folder: Path, *, codes: Codes | None = None) -> Verdict:
    """Judge the run whose files stand in `folder`.

    `codes`: by a picture's tag the error codes that its job may end with, None for a success. A tag that is not named
    may only succeed, or be failed as `worker-crashed`.
    """
    evidence = Evidence.read(folder)
    verdict = Verdict(figures=_figures(evidence))
    if not evidence.accepted:
        verdict.problems.append("no job was accepted")
    for sentence, ids in (
        ("promised to more than one caller", [job for job, times in evidence.promises.items() if times > 1]),
        ("accepted and not ended", _lost(evidence)),
        ("seen in two ends", _flipped(evidence)),
        ("ended and not seen again", [job for job in evidence.first if evidence.final and job not in evidence.final]),
        ("told of as ended more than once", [job for job, times in evidence.published.items() if times > 1]),
        ("given more than one outcome by workers", [job for job, said in evidence.outcomes.items() if len(said) > 1]),
        ("ended as they may not", _wrong(evidence, codes or {})),
        ("made and promised to nobody", _unpromised(evidence)),
        ("in Redis though all has ended", [f"{key} ({size})" for key, size in evidence.held.items()]),
    ):
        if ids:
            shown = ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
            verdict.problems.append(f"{len(ids)} {sentence}: {shown}")
    return verdict


def seconds_by_tag(folder: Path) -> dict[str, list[float]]:
    """How long the ended jobs took from acceptance to end, by their pictures' tags."""
    evidence = Evidence.read(folder)
    took: dict[str, list[float]] = defaultdict(list)
    for job, sight in evidence.first.items():
        if sight["status"] in _ENDS and job in evidence.accepted:
            took[evidence.accepted[job]["tag"]].append(sight["finished_s"] - sight["created_s"])
    return {tag: sorted(times) for tag, times in took.items()}


def most_attempts(folder: Path) -> int:
    """How often the job was tried that was tried most."""
    return max((sight.get("attempt") or 0 for sight in Evidence.read(folder).first.values()), default=0)


def lines(path: Path) -> list[dict[str, Any]]:
    """The file's JSON lines; none where there is no file. Others are left out, and one that was cut off."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        if not line.startswith("{"):
            continue
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value that `share` of the values do not exceed, to a millisecond if they are seconds; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


def _outcomes(folder: Path) -> tuple[dict[str, list[str]], int]:
    said = [line for log in sorted(folder.glob("worker-*.log")) for line in lines(log) if line.get("event") == "job"]
    outcomes: dict[str, list[str]] = defaultdict(list)
    for line in said:
        if line["outcome"] != "too late" and not line["setback"]:
            outcomes[line["job_id"]].append(f"attempt {line['attempt']}: {line['outcome']}")
    return outcomes, sum(line["outcome"] == "too late" for line in said)


def _figures(evidence: Evidence) -> dict[str, Figure]:
    ended = [sight for sight in evidence.first.values() if sight["status"] in _ENDS]
    took = {sight["id"]: sight["finished_s"] - sight["created_s"] for sight in ended}
    again = {sight["id"] for sight in ended if sight["attempt"] > 1}
    normal = [seconds for job, seconds in took.items() if job not in again]
    usual = median(normal) if normal else 0.0
    recovery = [took[job] - usual for job in again]
    codes = Counter(str(sight["code"] or sight["status"]) for sight in ended)
    return {
        "jobs": len(evidence.accepted),
        "refused": len(evidence.refused),
        "lost": len(_lost(evidence)),
        **dict(sorted(codes.items())),
        "executions": sum(sight["attempt"] for sight in ended),
        "duplicates": sum(max(0, sight["attempt"] - 1) for sight in ended),
        "too_late": evidence.late,
        "tries_max": max((line["tries"] for line in evidence.accepted.values()), default=0),
        "usual_s": round(usual, 3),
        "p95_s": quantile(took.values(), 0.95),
        "max_s": quantile(took.values(), 1.0),
        "recovered": len(recovery),
        "recovery_p50_s": quantile(recovery, 0.5),
        "recovery_p95_s": quantile(recovery, 0.95),
        "recovery_max_s": quantile(recovery, 1.0),
    }


def _lost(evidence: Evidence) -> list[str]:
    return [job for job in evidence.accepted if evidence.first.get(job, {}).get("status") not in _ENDS]


def _flipped(evidence: Evidence) -> list[str]:
    return [
        job
        for job, first in evidence.first.items()
        if job in evidence.final and any(first.get(name) != evidence.final[job].get(name) for name in _SAME)
    ]


def _wrong(evidence: Evidence, codes: Codes) -> list[str]:
    wrong = []
    for job, sight in evidence.first.items():
        tag = evidence.accepted[job]["tag"] if job in evidence.accepted else ""
        allowed = codes.get(tag, (None, "worker-crashed"))
        code = None if sight["status"] == "succeeded" else sight.get("code") or sight["status"]
        if sight["status"] in _ENDS and code not in allowed:
            wrong.append(f"{job} ({tag}: {code})")
    return wrong


def _unpromised(evidence: Evidence) -> list[str]:
    return [] if evidence.ids is None else [job for job in evidence.ids if job not in evidence.accepted]
