"""Charts as SVG made on the server: they print, they work without script, and their colours follow the theme."""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from markupsafe import Markup, escape
from msgspec import Struct

from penstock.dashboard.words import day, money, places_for

WIDTH, HEIGHT = 960, 264
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 12, 28
COLOURS = 7
"""Classes `c0` to `c6` of the style sheet; the last one is for what is summed up as others."""


class Series(Struct, frozen=True):
    """One colour of the stack: a name, and an amount for each day."""

    name: str
    amounts: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        """The whole of it."""
        return sum(self.amounts, Decimal(0))


def stacked(days: Sequence[date], series: Sequence[Series], *, title: str) -> Markup:
    """Draw a stack of bars a day: dollars upwards, the first series at the foot."""
    totals = [sum((one.amounts[n] for one in series), Decimal(0)) for n in range(len(days))]
    step = _step(max(totals, default=Decimal(0)))
    top = max(step, step * math.ceil(max(totals, default=Decimal(0)) / step))
    scale = Decimal(HEIGHT - TOP - BOTTOM) / top
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(days))
    frame = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    parts = [frame, *_grid(top, step, scale)]
    for n, at in enumerate(days):
        left = LEFT + slot * n
        parts.append(_bar(n, left, slot, series, scale))
        if _labelled(n, len(days)):
            parts.append(
                f'<text class="axis" x="{left + slot / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{day(at)}</text>'
            )
        said = f"{day(at)}: {money(totals[n], places_for(totals))}"
        parts.append(
            f'<rect class="hit" x="{left:.1f}" y="{TOP}" width="{slot:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
            f"<title>{escape(said)}{escape(_parts_of(n, series))}</title></rect>"
        )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - every text above is escaped


def bar(part: Decimal, whole: Decimal) -> Markup:
    """Draw a share as a small bar for a table's cell."""
    width = float(part / whole * 100) if whole > 0 and part > 0 else 0.0
    drawn = f'<rect class="c0" width="{max(width, 1.0):.1f}" height="8" rx="1"/>' if width else ""
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8" rx="1"/>{drawn}</svg>'
    )


def _grid(top: Decimal, step: Decimal, scale: Decimal) -> list[str]:
    lines = []
    places = 0 if step >= 1 and step == step.to_integral() else max(2, -int(step.normalize().as_tuple().exponent))
    for n in range(int(top / step) + 1):
        y = HEIGHT - BOTTOM - step * n * scale
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">${step * n:,.{places}f}</text>'
        )
    return lines


def _bar(n: int, left: float, slot: float, series: Sequence[Series], scale: Decimal) -> str:
    gap = min(slot * 0.25, 12)
    foot = Decimal(HEIGHT - BOTTOM)
    drawn = []
    for colour, one in enumerate(series):
        height = max(one.amounts[n], Decimal(0)) * scale
        if height > 0:
            foot -= height
            drawn.append(
                f'<rect class="c{min(colour, COLOURS - 1)}" x="{left + gap / 2:.1f}" y="{foot:.2f}" '
                f'width="{slot - gap:.1f}" height="{height:.2f}"/>'
            )
    return "".join(drawn)


def _parts_of(n: int, series: Sequence[Series]) -> str:
    spent = [(one.name, one.amounts[n]) for one in reversed(series) if one.amounts[n]]
    places = places_for(amount for _, amount in spent)
    return "".join(f"\n{name}: {money(amount, places)}" for name, amount in spent)


def _labelled(n: int, count: int) -> bool:
    """Label about ten days, the last one among them."""
    every = max(1, math.ceil(count / 10))
    return (count - 1 - n) % every == 0


def _step(largest: Decimal) -> Decimal:
    """Choose a round distance between grid lines, so that there are three to six of them."""
    if largest <= 0:
        return Decimal(1)
    size = Decimal(1).scaleb(largest.adjusted())
    for factor in (Decimal("0.2"), Decimal("0.5"), Decimal(1), Decimal(2)):
        if largest / (size * factor) <= 5:
            return size * factor
    return size * 5
