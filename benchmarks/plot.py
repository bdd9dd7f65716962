"""Bars on a logarithmic scale, as SVG: candidates differ by factors of thousands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, RIGHT, BAR, TOP = 860, 190, 110, 26, 46
INK, FAINT, OURS, OTHERS = "#24292f", "#d0d7de", "#0969da", "#8c959f"


@dataclass(frozen=True)
class Bar:
    """One candidate's figure, with the lowest and highest round."""

    label: str
    value: float
    low: float
    high: float
    ours: bool = False


def bars(panels: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Draw one panel below the other, each with a title and its own scale."""
    parts, top = [], 0
    for title, panel in panels:
        drawn, height = _panel(title, panel, top)
        parts.append(drawn)
        top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n'
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten between which all values lie."""
    first = math.floor(math.log10(min(values)))
    return first, max(first + 1, math.ceil(math.log10(max(values))))


def _panel(title: str, panel: Sequence[Bar], top: int) -> tuple[str, int]:
    first, last = decades([edge for bar in panel for edge in (bar.low, bar.high)])

    def x(value: float) -> float:
        return LABELS + (math.log10(value) - first) / (last - first) * (WIDTH - LABELS - RIGHT)

    height = TOP + BAR * len(panel) + 30
    foot = top + height - 30
    parts = [f'<text x="12" y="{top + 26}" font-size="15" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for power in range(first, last + 1):
        at = x(10.0**power)
        parts.append(f'<line x1="{at:.1f}" y1="{top + TOP - 8}" x2="{at:.1f}" y2="{foot}" stroke="{FAINT}"/>')
        label = f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
        parts.append(f'<text x="{at:.1f}" y="{foot + 16}" text-anchor="middle" fill="{INK}">{label}</text>')
    for n, bar in enumerate(panel):
        y = top + TOP + n * BAR
        end, middle = x(bar.value), y + (BAR - 6) / 2
        parts.append(
            f'<text x="{LABELS - 8}" y="{y + 15}" text-anchor="end" fill="{INK}">{escape(bar.label)}</text>'
            f'<rect x="{LABELS}" y="{y}" width="{max(end - LABELS, 1):.1f}" height="{BAR - 6}" '
            f'fill="{OURS if bar.ours else OTHERS}"/>'
            f'<line x1="{x(bar.low):.1f}" y1="{middle}" x2="{x(bar.high):.1f}" y2="{middle}" stroke="{INK}"/>'
            f'<text x="{max(end, x(bar.high)) + 8:.1f}" y="{y + 15}" fill="{INK}">{_short(bar.value)}</text>'
        )
    return "\n".join(parts), height


def _short(value: float) -> str:
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"
