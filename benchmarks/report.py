"""The page docs/performance.md and its charts, from the results alone: made again they are the same."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.charts import Bar, bars
from benchmarks.parts import PARTS
from benchmarks.results import Figure, Results
from benchmarks.surroundings import ROOT

DOCS: Final = ROOT / "docs"

HEAD: Final = """\
# Performance

`make bench` measured this page in {minutes:.0f} minutes and wrote it. `python -m benchmarks report` writes it again
from [the results](../benchmarks/results/latest.json), which hold every round.

The yardstick is the *bare loop*: `json.loads`, `base64.b64decode`, `Image.open`, `convert("RGB")`,
`resize((224, 224))`, `(x / 255 - mean) / std` in float32, the mock model, `json.dumps`, in one thread of one process
([benchmarks/bare.py](../benchmarks/bare.py)). No server, no queue, nothing kept, and any picture may kill it.
"""

METHOD: Final = """\
## How it is measured

- Processor time is user and system time of every process of the system, Redis and the supervisor included, by the
  kernel's own clocks. On a machine that others use as well it is the figure that lasts. Latencies, seconds to start and
  requests per second are wall time.
- Figures in units of the bare loop: every round is floor, system, floor, and a figure is divided by the mean of the two
  floors around it, since a machine changes its pace within seconds. Other ratios are of what was measured in turn. What
  is told is the median of the rounds, with the least and the most of them.
- Not counted: the kernel's own threads, which write to the disk, and what is done after the last answer (a hundredth of
  the bare loop). No round lasts until a record expires, or until Redis writes its file anew at 640 by 480.
- The bare loop's process keeps the memory that it frees, as any does that has once held something large. That makes
  it cheaper, by a fifth at 640 by 480, and the ratios higher.
- The photographs are those of `examples/`, cropped and resampled, with a little grain, several for each size: JPEG with
  4:2:0 of about 15 kB, 100 kB, 500 kB and 4 MB, and PNG.
- Callers run in a process of their own, a request at a time on each connection, and check every answer: its status, and
  its predictions to the letter. A wrong one ends the run, and so does a process that dies or is replaced.
- The system is what `darkroom up` starts: durable (append-only file, `everysec`), with decoders of their own.
"""

_ROLES: Final = {"gateway_s": "gateway", "worker_s": "workers", "decoder_s": "decoders", "redis_s": "Redis"}


def pages(results: Results) -> dict[Path, str]:
    """Every file that is made of the results, by its path below docs/."""
    charts = _charts(results)
    figures = [figure for figure in results.figures if figure.goal is not None]
    lines = [HEAD.format(minutes=results.seconds / 60)]
    lines += [f"## Goals: {sum(figure.met is True for figure in figures)} of {len(figures)} met", ""]
    lines += _table(("", "", "Measured", "", "Goal", ""), ([figure.part, *_row(figure)] for figure in figures))
    for name, part in PARTS.items():
        found = [figure for figure in results.figures if figure.part == name]
        if found:
            lines += [f"## {part.title}", "", part.told, ""]
            lines += [f"![{part.title}](images/performance-{name}.svg)\n"] if name in charts else []
            lines += _table(("", "Median (least to most)", "", "Goal", ""), map(_row, found))
            lines += _details(name, found)
    lines += [METHOD, "## Where", ""]
    lines += _table(("", ""), ([name, text] for name, text in results.surroundings.items()))
    page = "\n".join(lines).rstrip("\n") + "\n"
    return {
        Path("performance.md"): page,
        **{Path("images") / f"performance-{name}.svg": chart for name, chart in charts.items()},
    }


def write(results: Results, folder: Path = DOCS) -> None:
    """Write them."""
    for path, text in pages(results).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def said(figure: Figure) -> str:
    """A figure with its spread, its unit and whether it meets its goal, for a terminal."""
    return " ".join(text for text in _row(figure) if text).replace("**", "")


def _row(figure: Figure) -> list[str]:
    spread = figure.spread
    measured = f"**{_number(spread.median)}**"
    if len(figure.values) > 1:
        measured += f" ({_number(spread.least)} to {_number(spread.most)})"
    verdict = {True: "met", False: "**not met**", None: ""}[figure.met]
    return [figure.name, measured, figure.unit, str(figure.goal or ""), verdict]


def _details(part: str, figures: Sequence[Figure]) -> Iterator[str]:
    match part:
        case "http":
            yield "Of which, in units of the bare loop:\n"
            head = ("", *_ROLES.values(), "requests/s", "half within", "99 % within", "bare loop")
            yield from _table(head, map(_parts, figures))
        case "throughput":
            rows = [
                [figure.name, f"{figure.middle('rate'):.0f}", f"{figure.middle('others'):.2f}", _ms(figure, "floor_s")]
                for figure in figures
                if figure.rounds
            ]
            yield from _table(("", "requests/s", "cores that others used", "bare loop"), rows)
        case "preprocess":
            yield "How far the tensor is from the plain formula's (a level of 256 is 0.0175):\n"
            rows = [
                [figure.name, f"{figure.middle('most'):.2g}", f"{figure.middle('mean'):.2g}", _ms(figure, "plain_s")]
                for figure in figures
                if "most" in figure.rounds[0]
            ]
            yield from _table(("", "Most", "Mean", "Plain formula"), rows)
            for figure in figures:
                if "flips" in figure.rounds[0]:
                    crops, clear = (int(sum(one[name] for one in figure.rounds)) for name in ("crops", "clear"))
                    yield f"Of {crops} crops {clear} have a label that leads by more than 0.05.\n"
        case _:
            return


def _parts(figure: Figure) -> list[str]:
    floor = [one["floor_s"] for one in figure.rounds]
    shares = [f"{_middle(figure, role, floor):.2f}" for role in _ROLES]
    told = [f"{figure.middle('rate'):.0f}", f"{figure.middle('p50_ms'):.0f} ms", f"{figure.middle('p99_ms'):.0f} ms"]
    return [figure.name, *shares, *told, _ms(figure, "floor_s")]


def _middle(figure: Figure, role: str, floor: Sequence[float]) -> float:
    ratios = [one.get(role, 0.0) / base for one, base in zip(figure.rounds, floor, strict=True)]
    return statistics.median(ratios)


def _ms(figure: Figure, name: str) -> str:
    return f"{figure.middle(name) * 1000:.3g} ms"


def _number(figure: float) -> str:
    if figure == int(figure) or abs(figure) >= 100:
        return f"{figure:.0f}"
    return f"{figure:.2f}" if abs(figure) < 10 else f"{figure:.1f}"


def _charts(results: Results) -> Mapping[str, str]:
    found = {name: [figure for figure in results.figures if figure.part == name] for name in PARTS}
    charts = {}
    if found["http"]:
        rows = [Bar(label=figure.name, pieces=_pieces(figure)) for figure in found["http"]]
        title = "Processor time of a request, in units of the bare loop"
        charts["http"] = bars(title, rows, mark=1, marked="bare loop")
    if found["throughput"]:
        rows = [_bar(figure) for figure in found["throughput"] if figure.unit == "of the free cores"]
        charts["throughput"] = bars("Share of the free cores that becomes work", rows, mark=0.8, marked="goal")
    if found["preprocess"]:
        rows = [_bar(figure) for figure in found["preprocess"] if figure.unit != "labels"]
        title = "From base64 to the tensor, in units of the plain formula"
        charts["preprocess"] = bars(title, rows, mark=1, marked="plain formula")
    return charts


def _bar(figure: Figure) -> Bar:
    return Bar(label=figure.name, pieces={figure.unit: figure.spread.median})


def _pieces(figure: Figure) -> dict[str, float]:
    floor = [one["floor_s"] for one in figure.rounds]
    return {name: _middle(figure, role, floor) for role, name in _ROLES.items()}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
