"""The sum of the period day by day, booked and expected, with its interval and an amount not to pass: two drawings."""

import math
from collections.abc import Sequence
from decimal import Decimal
from html import escape

from penstock.analytics.forecast import Forecast, ForecastDay

HEIGHT = 12
SCALE = 12
"""Columns of the scale on the left."""
MARGIN, PLOT_WIDTH, PLOT_HEIGHT = 64, 720, 260


def blocks(found: Forecast, width: int = 80) -> str:
    """Draw columns for a terminal: full for what is booked, shaded for what is expected, dots up to the interval."""
    days: Sequence[ForecastDay] = found.days
    columns = max(1, min(3, (width - SCALE - 2) // max(1, len(days))))
    days = days if columns * len(days) <= width - SCALE - 2 else _thinned(days, width - SCALE - 2)
    limit = found.limit.amount if found.limit else None
    top = _top(days, limit)
    booked = {day.day: day for day in found.days if day.spent is not None}
    now = max((one.sum for one in booked.values() if one.low == one.high), default=Decimal(0))
    fixed = max(now, found.spent)
    lines = []
    for row in range(HEIGHT, 0, -1):
        level, floor = top * row / HEIGHT, top * (row - 1) / HEIGHT
        middle = float(level + floor) / 2
        here = limit is not None and floor < float(limit) <= level
        cells = "".join(_cell(day, middle, float(fixed), here=here) * columns for day in days)
        lines.append(f"{_dollars(level):>{SCALE - 2}} │{cells}{' limit' if here else ''}".rstrip())
    lines.append(f"{'$0':>{SCALE - 2}} └{'─' * (columns * len(days))}")
    first, last = f"{days[0].day:%b %d}", f"{days[-1].day:%b %d}"
    lines.append(f"{'':{SCALE}}{first}{last:>{max(len(last) + 1, columns * len(days) - len(first))}}")
    lines.append(f"{'':{SCALE}}█ booked  ▒ expected  · up to the {found.level:.0%} interval")
    return "\n".join(lines)


def svg(found: Forecast, heading: str) -> str:
    """Draw the same as one SVG document, without scripts or outside references."""
    days, limit = found.days, found.limit.amount if found.limit else None
    top = _top(days, limit)
    step = PLOT_WIDTH / max(1, len(days) - 1)

    def at(n: int, value: Decimal) -> str:
        return f"{MARGIN + n * step:.1f} {MARGIN + PLOT_HEIGHT * (1 - float(value) / top):.1f}"

    past = [(n, day) for n, day in enumerate(days) if day.low == day.high]
    start = past[-1][0] if past else 0
    ahead = [(n, day) for n, day in enumerate(days) if n >= start]
    band = "M" + "L".join([*(at(n, day.high) for n, day in ahead), *(at(n, day.low) for n, day in reversed(ahead))])
    expected = "M" + "L".join(at(n, day.sum) for n, day in ahead)
    booked = "M" + "L".join(at(n, day.sum) for n, day in past) if past else ""
    right, bottom = MARGIN + PLOT_WIDTH, MARGIN + PLOT_HEIGHT
    ticks = "".join(
        f'<text x="{MARGIN - 8}" y="{MARGIN + PLOT_HEIGHT * (1 - part / 4) + 4:.1f}" text-anchor="end">'
        f"{_dollars(top * part / 4)}</text>"
        f'<path d="M{MARGIN} {MARGIN + PLOT_HEIGHT * (1 - part / 4):.1f}H{right}" stroke="#ddd"/>'
        for part in range(5)
    )
    line = ""
    if limit is not None:
        y = MARGIN + PLOT_HEIGHT * (1 - float(limit) / top)
        line = (
            f'<path d="M{MARGIN} {y:.1f}H{right}" stroke="#c53030" stroke-dasharray="6 4"/>'
            f'<text x="{right}" y="{y - 6:.1f}" text-anchor="end" fill="#c53030">{_dollars(float(limit))}</text>'
        )
    name = escape(heading)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + MARGIN} {bottom + MARGIN}" role="img" \
font-family="system-ui, sans-serif" font-size="12">
<title>{name}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="24" font-size="15" font-weight="600">{name}</text>
{ticks}
<path d="{band}" fill="#2b6cb0" opacity="0.18"><title>{found.level:.0%} interval</title></path>
<path d="{expected}" fill="none" stroke="#2b6cb0" stroke-width="2" stroke-dasharray="5 4"><title>expected</title></path>
<path d="{booked}" fill="none" stroke="#1a365d" stroke-width="2.5"><title>booked</title></path>
{line}
<text x="{MARGIN}" y="{bottom + 20}">{days[0].day}</text>
<text x="{right}" y="{bottom + 20}" text-anchor="end">{days[-1].day}</text>
<text x="{MARGIN}" y="{bottom + 44}">line: booked; dashes: expected; area: {found.level:.0%} interval of the sum</text>
</svg>
"""


def _cell(day: ForecastDay, middle: float, fixed: float, *, here: bool) -> str:
    if middle <= float(day.sum):
        return "█" if day.low == day.high or middle <= fixed else "▒"
    if middle <= float(day.high) and day.low != day.high:
        return "·"
    return "─" if here else " "


def _thinned(days: Sequence[ForecastDay], room: int) -> list[ForecastDay]:
    every = math.ceil(len(days) / max(1, room))
    return [day for n, day in enumerate(days) if (len(days) - 1 - n) % every == 0]


def _top(days: Sequence[ForecastDay], limit: Decimal | None) -> float:
    return float(max([*(day.high for day in days), *([limit] if limit is not None else [])])) * 1.02 or 1.0


def _dollars(value: float) -> str:
    places = 0 if value >= 100 else 2 if value >= 0.1 else 4
    return f"${value:,.{places}f}"
