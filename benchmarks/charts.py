"""Bar charts as SVG, for pages: readable in the light and in the dark, the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 810
_LABELS: Final = 345
_BARS: Final = 400
_ROW: Final = 30
_BAR: Final = 18
_TOP: Final = 56
_COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Tell apart for the colour-blind too. Source: Paul Tol's bright scheme."""

_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}"
    ".mark{stroke:#57606a;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.mark{stroke:#8d96a0}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, of one piece or several, each by its name."""

    label: str
    pieces: Mapping[str, float]

    @property
    def length(self) -> float:
        """Of all pieces."""
        return sum(self.pieces.values())


def bars(title: str, rows: Sequence[Bar], *, mark: float, marked: str) -> str:
    """Horizontal bars with their lengths beside them, and a line at `mark`, which stands for `marked`."""
    names = list(dict.fromkeys(name for row in rows for name in row.pieces))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    scale = _BARS / (1.05 * max([mark, *(row.length for row in rows)]))
    height = _TOP + _ROW * len(rows) + 28
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
        *(_legend(colours) if len(names) > 1 else ()),
    ]
    for number, row in enumerate(rows):
        drawn += _row(row, _TOP + number * _ROW, scale, colours)
    place = _LABELS + mark * scale
    bottom = _TOP + _ROW * len(rows)
    drawn += [
        f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>',
        f'<text x="{place:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(marked)}</text>',
        "</svg>",
    ]
    return "\n".join(drawn) + "\n"


def _legend(colours: Mapping[str, str]) -> list[str]:
    drawn = []
    for number, (name, colour) in enumerate(colours.items()):
        left = _LABELS + number * 96
        drawn += [
            f'<rect x="{left}" y="28" width="12" height="12" fill="{colour}"/>',
            f'<text x="{left + 17}" y="39">{escape(name)}</text>',
        ]
    return drawn


def _row(row: Bar, top: int, scale: float, colours: Mapping[str, str]) -> list[str]:
    baseline = top + _BAR - 4
    drawn = [f'<text x="{_LABELS - 8}" y="{baseline}" text-anchor="end">{escape(row.label)}</text>']
    left = float(_LABELS)
    for name, length in row.pieces.items():
        width = length * scale
        drawn.append(f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colours[name]}"/>')
        left += width
    drawn.append(f'<text x="{left + 6:.1f}" y="{baseline}">{row.length:.2f}</text>')
    return drawn
