"""The ground that charts stand on: an SVG with a name, round figures on the axis, grid lines, and marks that speak."""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

from markupsafe import Markup, escape
from msgspec import Struct

WIDTH, HEIGHT = 960, 264
HALF = 500
"""Width of a chart of which two stand side by side, so that its letters are as large."""
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 12, 28
COLOURS = 7
"""Classes `c0` to `c6` of the style sheet; the last one is for what is summed up as others."""

Write = Callable[[Decimal, int], str]
"""Writes an amount on an axis, with so many decimals."""


def dollars(amount: Decimal, places: int) -> str:
    """Write dollars on an axis."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{places}f}"


def counts(amount: Decimal, places: int) -> str:
    """Write a count on an axis: `1.5M`."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if abs(amount) >= size:
            return f"{format((amount / size).normalize(), 'f')}{letter}"
    return f"{amount:,.{places}f}"


def percent(amount: Decimal, places: int) -> str:
    """Write a share of 1 on an axis."""
    return f"{amount * 100:,.{max(0, places - 2)}f}%"


class Frame(Struct, frozen=True):
    """Where amounts stand: from `low` to `high`, in steps."""

    width: int
    low: Decimal
    high: Decimal
    step: Decimal

    def y(self, amount: Decimal) -> float:
        """Return the height of an amount, from above."""
        part = (amount - self.low) / (self.high - self.low)
        return float(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM))

    def slot(self, n: int, count: int) -> tuple[float, float]:
        """Return where one of some columns begins, and how wide it is."""
        width = (self.width - LEFT - RIGHT) / max(1, count)
        return LEFT + width * n, width


def frame_for(amounts: Sequence[Decimal], width: int = WIDTH) -> Frame:
    """Choose an axis that holds zero and all amounts, with round figures."""
    low, high = min(*amounts, Decimal(0), Decimal(0)), max(*amounts, Decimal(0), Decimal(0))
    step = _step(max(high, -low) if low == 0 or high == 0 else high - low)
    bottom, top = step * math.floor(low / step), step * math.ceil(high / step)
    return Frame(width, bottom, max(top, bottom + step), step)


def drawn(frame: Frame, parts: Sequence[str], *, name: str) -> Markup:
    """Put an SVG together. `name` says in a sentence what the chart shows; `parts` are escaped already."""
    head = (
        f'<svg class="chart" viewBox="0 0 {frame.width} {HEIGHT}" role="img" tabindex="0" aria-label="{escape(name)}">'
    )
    return Markup("".join([head, *parts, "</svg>"]))  # noqa: S704 - every text above is escaped


def grid(frame: Frame, write: Write = dollars) -> list[str]:
    """Draw lines and figures."""
    step, lines = frame.step, []
    places = 0 if step >= 1 and step == step.to_integral() else max(2, -int(step.normalize().as_tuple().exponent))
    for n in range(int((frame.high - frame.low) / step) + 1):
        amount = frame.low + step * n
        y = frame.y(amount)
        base = " base" if amount == 0 and frame.low < 0 else ""
        lines.append(f'<line class="grid{base}" x1="{LEFT}" x2="{frame.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{write(amount, places)}</text>'
        )
    return lines


def label(x: float, said: str) -> str:
    """Write below the axis."""
    return f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(said)}</text>'


def mark(left: float, width: float, said: str) -> str:
    """Make a column of the chart speak: to who rests the pointer on it, and by the arrow keys."""
    return (
        f'<rect class="hit" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
        f"<title>{escape(said)}</title></rect>"
    )


def is_labelled(n: int, count: int, most: int = 10) -> bool:
    """Label about ten columns, the last one among them."""
    return (count - 1 - n) % max(1, math.ceil(count / most)) == 0


def _step(largest: Decimal) -> Decimal:
    """Choose a round distance between grid lines, so that there are three to six of them."""
    if largest <= 0:
        return Decimal(1)
    size = Decimal(1).scaleb(largest.adjusted())
    for factor in (Decimal("0.2"), Decimal("0.5"), Decimal(1), Decimal(2)):
        if largest / (size * factor) <= 5:
            return size * factor
    return size * 5
