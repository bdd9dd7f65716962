"""Demand, provisioned capacity and spill-over as a drawing: blocks for a terminal, SVG for a page."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 80, 12
"""Columns of a usual terminal, and lines of the drawing."""

SCALE = 11
"""Columns of the scale on the left."""

MARGIN, PLOT_WIDTH, PLOT_HEIGHT = 56, 720, 240
"""Pixels of the SVG: room for labels, and the drawing itself."""


def squeezed(demand: Sequence[float], columns: int) -> list[float]:
    """Fit a series into that many columns; a column shows the highest of its minutes, so that no peak is lost."""
    if len(demand) <= columns:
        return list(demand)
    edges = [len(demand) * column // columns for column in range(columns + 1)]
    return [max(demand[start:end]) for start, end in pairwise(edges)]


def blocks(demand: Sequence[float], ptus: int, width: int = WIDTH) -> str:
    """Draw demand as columns of blocks: full up to the PTUs, light above them (spill-over). No line is wider."""
    room = max(10, width - SCALE - len(f" {ptus} PTUs"))
    columns = squeezed(demand, room)
    columns = [value for value in columns for _ in range(max(1, room // len(columns)))]
    top = max([*columns, float(ptus)]) or 1.0
    lines = []
    for line in range(HEIGHT, 0, -1):
        level, floor = top * line / HEIGHT, top * (line - 1) / HEIGHT
        middle = (level + floor) / 2
        here = floor < ptus <= level
        cells = "".join(
            ("█" if middle <= ptus else "░") if value >= middle else ("─" if here else " ") for value in columns
        )
        lines.append(f"{level:9.1f} │{cells}{f' {ptus} PTUs' if here else ''}")
    lines.append(f"{0:9.1f} └{'─' * len(columns)}")
    last = f"minute {len(demand)}"
    lines.append(f"{'PTUs':>9}  minute 1{last:>{max(len(last) + 1, len(columns) - 8)}}")
    lines.append(f"{'':11}█ served by PTUs, ░ spilled over to pay-as-you-go")
    return "\n".join(lines)


def svg(demand: Sequence[float], ptus: int, heading: str) -> str:
    """Draw the same as one SVG document, without scripts or outside references."""
    columns = squeezed(demand, PLOT_WIDTH)
    top = max([*columns, float(ptus)]) * 1.05 or 1.0
    step = PLOT_WIDTH / len(columns)

    def y(value: float) -> float:
        return MARGIN + PLOT_HEIGHT * (1 - value / top)

    def bars(low: float, high: Sequence[float]) -> str:
        return "".join(
            f"M{MARGIN + index * step:.1f} {y(value):.1f}h{step:.2f}V{y(low):.1f}h-{step:.2f}z"
            for index, value in enumerate(high)
            if value > low
        )

    right, bottom = MARGIN + PLOT_WIDTH, MARGIN + PLOT_HEIGHT
    line, name = y(ptus), escape(heading)
    ticks = "".join(
        f'<text x="{MARGIN - 8}" y="{y(top * part / 4) + 4:.1f}" text-anchor="end">{top * part / 4:,.1f}</text>'
        f'<path d="M{MARGIN} {y(top * part / 4):.1f}H{right}" stroke="#ddd"/>'
        for part in range(5)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + MARGIN} {bottom + MARGIN}" role="img" \
font-family="system-ui, sans-serif" font-size="12">
<title>{name}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="24" font-size="15" font-weight="600">{name}</text>
{ticks}
<path d="{bars(0, [min(value, ptus) for value in columns])}" fill="#2b6cb0"><title>served by PTUs</title></path>
<path d="{bars(ptus, columns)}" fill="#dd6b20"><title>spilled over to pay-as-you-go</title></path>
<path d="M{MARGIN} {line:.1f}H{right}" stroke="#1a202c" stroke-dasharray="6 4"/>
<text x="{right}" y="{line - 6:.1f}" text-anchor="end">{ptus} PTUs</text>
<path d="M{MARGIN} {MARGIN}V{bottom}H{right}" fill="none" stroke="#1a202c"/>
<text x="{MARGIN}" y="{bottom + 20}">minute 1</text>
<text x="{right}" y="{bottom + 20}" text-anchor="end">minute {len(demand)}</text>
<rect x="{MARGIN}" y="{bottom + 30}" width="12" height="12" fill="#2b6cb0"/>
<text x="{MARGIN + 18}" y="{bottom + 40}">served by PTUs</text>
<rect x="{MARGIN + 140}" y="{bottom + 30}" width="12" height="12" fill="#dd6b20"/>
<text x="{MARGIN + 158}" y="{bottom + 40}">spilled over (demand in PTUs, busiest minute of each column)</text>
</svg>
"""
