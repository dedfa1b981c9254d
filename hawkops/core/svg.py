"""Small drawings as inline SVG, for what has to stand alone: a number over time, an interval beside its limit.

Colours are classes, which the page's own style sheet fills in; every text is escaped. No script, no font, no address.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT, EDGE = 340, 96, 4
GAP_WIDTH, GAP_HEIGHT = 340, 30
# a limit this much beyond everything that was seen would flatten the lines: it is said in words
FAR = 3.0

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """A line of a drawing: its class, and a value for each step. Where there is none the line has a gap."""

    css: str
    values: Values


def over_time(
    lines: Sequence[Line], words: str, *, limit: float | None = None, missed: bool = False,
    band: tuple[float, float] | None = None, begins: float | None = None,
) -> SafeString:  # fmt: skip
    """Draw lines over time with their limit and a band; nothing of nothing. The scale reaches to the limit.

    `words` are what a screen reader hears. `begins`, a share of the width, marks a moment.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return SafeString("")
    drawn = [*known, *([limit] if limit is not None else [])]
    low, high = min(drawn), max(drawn)
    scale = (HEIGHT - 2 * EDGE) / (high - low) if high > low else 0.0

    def down(value: float) -> str:
        middle = HEIGHT / 2 if high == low else HEIGHT - EDGE - (value - low) * scale
        return f"{min(HEIGHT - 1.0, max(1.0, middle)):.1f}"

    parts = [format_html('<path class="axis" d="M0 {}H{}"/>', HEIGHT, WIDTH)]
    if band is not None:
        top, bottom = float(down(max(band))), float(down(min(band)))
        parts.append(
            format_html(
                '<rect class="band" x="0" y="{}" width="{}" height="{}"/>',
                f"{top:.1f}",
                WIDTH,
                f"{max(1.5, bottom - top):.1f}",
            )
        )
    if begins is not None and 0 < begins < 1:
        parts.append(format_html('<path class="begins" d="M{} 0V{}"/>', f"{begins * WIDTH:.1f}", HEIGHT))
    if limit is not None:
        css = "limit missed" if missed else "limit"
        parts.append(format_html('<path class="{}" d="M0 {}H{}"/>', css, down(limit), WIDTH))
    parts += [format_html('<path class="line {}" d="{}"/>', line.css, _path(line.values, down)) for line in lines]
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH,
        HEIGHT,
        words,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def near(known: Sequence[float], limit: float) -> bool:
    """Say whether a limit lies near enough to what was seen to be drawn on the same scale."""
    low, high = min(known), max(known)
    reach = FAR * max(abs(high), abs(low), 1e-12)
    return low - reach <= limit <= high + reach


def interval(low: float, value: float, high: float, *, zero: float, limit: float, words: str, bad: bool) -> SafeString:
    """Draw an interval with its value, the line of no difference and the limit."""
    ends = [low, value, high, zero, limit]
    least, most = min(ends), max(ends)
    span = (most - least) or 1.0

    def place(one: float) -> str:
        return f"{8 + (one - least) / span * (GAP_WIDTH - 16):.1f}"

    middle = GAP_HEIGHT / 2
    return format_html(
        '<svg class="gap{}" viewBox="0 0 {} {}" role="img" aria-label="{}"><path class="zero" d="M{} 2V{}"/>'
        '<path class="limit" d="M{} 2V{}"/><path class="wing" d="M{} {}V{}M{} {}H{}M{} {}V{}"/>'
        '<circle class="point" cx="{}" cy="{}" r="4"/></svg>',
        " bad" if bad else "",
        GAP_WIDTH,
        GAP_HEIGHT,
        words,
        place(zero),
        GAP_HEIGHT - 2,
        place(limit),
        GAP_HEIGHT - 2,
        place(low),
        middle - 5,
        middle + 5,
        place(low),
        middle,
        place(high),
        place(high),
        middle - 5,
        middle + 5,
        place(value),
        middle,
    )


def _path(values: Values, down: Callable[[float], str]) -> str:
    """Write a line's path; a single value between two gaps is a dash that can be seen."""
    step = WIDTH / max(1, len(values) - 1)
    path, drawing = [], False
    for place, value in enumerate(values):
        if value is not None:
            path.append(f"{'L' if drawing else 'M'}{place * step:.1f} {down(value)}{'' if drawing else 'h1.5'}")
        drawing = value is not None
    return "".join(path)
