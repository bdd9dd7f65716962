"""Charts as SVG made on the server: they print, they work without script, and their colours follow the theme."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from markupsafe import Markup, escape
from msgspec import Struct

from penstock.dashboard import charts_frame as frames
from penstock.dashboard.charts_frame import COLOURS, LEFT, RIGHT, WIDTH, Frame, Write, dollars, label, mark
from penstock.dashboard.words import day, money, places_for

EDGE = 20
"""Half as wide as a day's label: none shall be cut at the edge."""
Say = Callable[[Decimal, int], str]
"""Writes an amount for the eye, with so many decimals."""


class Series(Struct, frozen=True):
    """One colour: a name, and an amount for each day."""

    name: str
    amounts: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        """The whole of it."""
        return sum(self.amounts, Decimal(0))


class Step(Struct, frozen=True):
    """One bar of a waterfall: a level of its own, or what it adds to the level before."""

    name: str
    amount: Decimal
    is_level: bool = False


class Point(Struct, frozen=True):
    """One day of a line with an interval; where `low` is `high`, it is known."""

    day: date
    amount: Decimal
    low: Decimal
    high: Decimal


def stacked(
    days: Sequence[date], series: Sequence[Series], *, title: str, width: int = WIDTH, axis: Write = dollars,
    say: Say = money,
) -> Markup:  # fmt: skip
    """Draw a stack of bars a day, the first series at the foot."""
    totals = [sum((one.amounts[n] for one in series), Decimal(0)) for n in range(len(days))]
    frame = frames.frame_for([Decimal(0), *totals], width)
    parts = frames.grid(frame, axis)
    for n, at in enumerate(days):
        left, slot = frame.slot(n, len(days))
        parts.append(_bar(n, left, slot, series, frame))
        if frames.is_labelled(n, len(days), width // 96):
            parts.append(label(min(left + slot / 2, width - EDGE), day(at)))
        said = f"{day(at)}: {say(totals[n], places_for(totals))}"
        parts.append(mark(left, slot, said + _parts_of(n, series, say)))
    return frames.drawn(frame, parts, name=title)


def lines(
    points: Sequence[Point], *, title: str, limit: Decimal | None = None, width: int = WIDTH, axis: Write = dollars,
    say: Say = money, flags: Mapping[date, str] | None = None,
) -> Markup:  # fmt: skip
    """Draw what is known as a line, what is expected dashed with its interval as a band, and an amount not to pass.

    `flags` marks days with a ring, and says why.
    """
    frame = frames.frame_for([*(point.high for point in points), *([limit] if limit is not None else [])], width)
    places = places_for(point.amount for point in points)
    parts = frames.grid(frame, axis)
    slots = [frame.slot(n, len(points)) for n in range(len(points))]
    middles = [left + slot / 2 for left, slot in slots]

    def path(some: Sequence[int], which: Callable[[Point], Decimal]) -> str:
        return "L".join(f"{middles[n]:.1f} {frame.y(which(points[n])):.1f}" for n in some)

    known = [n for n, point in enumerate(points) if point.low == point.high]
    ahead = list(range(known[-1] if known else 0, len(points)))
    if len(ahead) > 1:
        band = f"{path(ahead, lambda point: point.high)}L{path(ahead[::-1], lambda point: point.low)}"
        parts.append(f'<path class="band" d="M{band}Z"/>')
        parts.append(f'<path class="line dashed" d="M{path(ahead, lambda point: point.amount)}"/>')
    if known:
        parts.append(f'<path class="line" d="M{path(known, lambda point: point.amount)}"/>')
    if limit is not None:
        y = frame.y(limit)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for n, point in enumerate(points):
        left, slot = slots[n]
        if frames.is_labelled(n, len(points), width // 96):
            parts.append(label(min(middles[n], width - EDGE), day(point.day)))
        said = f"{day(point.day)}: {say(point.amount, places)}"
        if point.low != point.high:
            said += f" expected\n{say(point.low, places)} to {say(point.high, places)}"
        if flags and point.day in flags:
            parts.append(f'<circle class="flag" cx="{middles[n]:.1f}" cy="{frame.y(point.amount):.1f}" r="6"/>')
            said += f"\n{flags[point.day]}"
        parts.append(mark(left, slot, said))
    return frames.drawn(frame, parts, name=title)


HEADROOM = Decimal("1.1")
"""Above the tallest step there is room for its figure."""


def waterfall(
    steps: Sequence[Step], *, title: str, width: int = WIDTH, axis: Write = dollars, say: Say = money
) -> Markup:
    """Draw how one level becomes another: what each step adds hangs where the one before ended."""
    reached, spans = Decimal(0), []
    for step in steps:
        begin = Decimal(0) if step.is_level else reached
        reached = step.amount if step.is_level else reached + step.amount
        spans.append((begin, reached))
    amounts = [amount for span in spans for amount in span]
    frame = frames.frame_for([*amounts, max(amounts) * HEADROOM], width)
    places = places_for(step.amount for step in steps)
    parts = frames.grid(frame, axis)
    for n, (step, (begin, end)) in enumerate(zip(steps, spans, strict=True)):
        left, slot = frame.slot(n, len(steps))
        top, foot = frame.y(max(begin, end)), frame.y(min(begin, end))
        kind = "level" if step.is_level else "more" if step.amount > 0 else "fewer"
        bar_ = min(slot * 0.7, 84)
        x = left + (slot - bar_) / 2
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{top:.2f}" width="{bar_:.1f}" height="{max(foot - top, 1):.2f}"/>'
        )
        if n + 1 < len(steps):
            y = frame.y(end)
            parts.append(f'<line class="joint" x1="{x:.1f}" x2="{x + slot + bar_:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        said = _signed(step, say, places)
        parts.append(
            f'<text class="value" x="{left + slot / 2:.1f}" y="{top - 5:.1f}" text-anchor="middle">{said}</text>'
        )
        parts.append(label(left + slot / 2, step.name))
        parts.append(mark(left, slot, f"{step.name}: {said}"))
    return frames.drawn(frame, parts, name=title)


def ranked(
    amounts: Sequence[tuple[str, Decimal]], *, title: str, say: Say = money, limits: Sequence[Decimal] = ()
) -> Markup:
    """Draw bars that lie, one a name, the longest for the largest; with `limits`, each against its own amount.

    All widths are shares of the chart's own, so that letters have the same size on every screen. A name that is too
    long for its share ends in dots; names are HTML, since an SVG's own text cannot do that. The style sheet gives
    names a larger share where the screen is narrow.
    """
    row, height = 26, 26 * len(amounts) + 4
    places = places_for(amount for _, amount in amounts)
    most = max([*(amount for _, amount in amounts), *limits, Decimal(0)]) or Decimal(1)
    size = f'width="100%" height="{height}"'
    parts = [f'<svg class="chart ranked" {size} role="img" tabindex="0" aria-label="{escape(title)}">']
    for n, (name, amount) in enumerate(amounts):
        y = n * row
        long = float(max(amount, Decimal(0)) / most) * 100
        said = f"{name}: {say(amount, places)}"
        colour, limit = "c0", ""
        if limits:
            end = float(limits[n] / most) * 100
            said += f" of {say(limits[n], places)}"
            colour = "c4" if amount >= limits[n] else "c0"
            limit = f'<line class="limit" x1="{end:.2f}%" x2="{end:.2f}%" y1="2" y2="{row - 2}"/>'
        long = max(long, 0.4 if amount else 0)
        bar_ = f'<rect class="{colour}" width="{long:.2f}%" y="5" height="{row - 10}" rx="2"/>'
        parts.append(
            f'<foreignObject y="{y}" width="32%" height="{row}"><bdi class="name">{escape(name)}</bdi></foreignObject>'
            f'<foreignObject class="bars" x="33%" y="{y}" width="47%" height="{row}">'
            f'<svg width="100%" height="{row}">{bar_}{limit}</svg></foreignObject>'
            f'<text class="value" x="99.5%" y="{y + 17}" text-anchor="end">{say(amount, places)}</text>'
            f'<rect class="hit" x="0" y="{y}" width="100%" height="{row}"><title>{escape(said)}</title></rect>'
        )
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 - every text above is escaped


def bar(part: Decimal, whole: Decimal) -> Markup:
    """Draw a share as a small bar for a table's cell."""
    width = float(part / whole * 100) if whole > 0 and part > 0 else 0.0
    rect = f'<rect class="c0" width="{max(width, 1.0):.1f}" height="8" rx="1"/>' if width else ""
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8" rx="1"/>{rect}</svg>'
    )


def _bar(n: int, left: float, slot: float, series: Sequence[Series], frame: Frame) -> str:
    gap = min(slot * 0.25, 12)
    foot, parts = Decimal(0), []
    for colour, one in enumerate(series):
        amount = max(one.amounts[n], Decimal(0))
        if amount > 0:
            top, bottom = frame.y(foot + amount), frame.y(foot)
            foot += amount
            parts.append(
                f'<rect class="c{min(colour, COLOURS - 1)}" x="{left + gap / 2:.1f}" y="{top:.2f}" '
                f'width="{slot - gap:.1f}" height="{bottom - top:.2f}"/>'
            )
    return "".join(parts)


def _parts_of(n: int, series: Sequence[Series], say: Say) -> str:
    spent = [(one.name, one.amounts[n]) for one in reversed(series) if one.amounts[n]]
    places = places_for(amount for _, amount in spent)
    return "".join(f"\n{name}: {say(amount, places)}" for name, amount in spent)


def _signed(step: Step, say: Say, places: int) -> str:
    said = say(step.amount, places)
    return said if step.is_level or step.amount <= 0 else f"+{said}"
