"""Words and shapes of the pages: icons, verdict badges, numbers, times. Everything is escaped; nothing is styled inline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Band

register = template.Library()

SPACE = "\u202f"  # narrow no-break space
SPARK_WIDTH, SPARK_HEIGHT = 120, 22
# of a band, and how far from its edges the scale begins
BAND_WIDTH, BAND_HEIGHT, BAND_EDGE = 144, 18, 6


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """Draw an icon of the sprite; it is decoration, the word stands beside it."""
    return format_html(
        '<svg class="ico {}" aria-hidden="true"><use href="{}#{}"/></svg>', css, static("icons.svg"), name
    )


@register.simple_tag
def verdict_badge(verdict: str, words: str = "") -> SafeString:
    """Draw a verdict as shape and word; `words` replaces the word ("5 of 5 PASS")."""
    found = Verdict(verdict)
    return format_html('<span class="badge {}">{}{}</span>', found.css, icon(found.css), words or found.label)


@register.filter
def number(value: Any) -> str:
    """Write 1262 as 1 262 and 0.5 as 0.5; None as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, float) and not value.is_integer():
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
        return f"{value:,.{digits}f}".replace(",", SPACE)
    return f"{int(value):,}".replace(",", SPACE)


@register.filter
def percent(value: Any) -> str:
    """Write 15.0 as 15 %, 5.88 as 5.9 %; None as a dash."""
    if value is None or value == "":
        return "–"
    figure = float(value)
    text = f"{figure:.0f}" if figure == round(figure) else f"{figure:.3g}" if abs(figure) < 1 else f"{figure:.1f}"
    return f"{text}{SPACE}%"


def spoken(span: timedelta) -> str:
    """Say a length of time: 41 s, 4 min 52 s, 39 h 46 min, 4 d 6 h."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}{SPACE}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min" + (f" {seconds}{SPACE}s" if seconds and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}{SPACE}h" + (f" {minutes}{SPACE}min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days}{SPACE}d" + (f" {hours}{SPACE}h" if hours else "")


@register.filter
def duration(value: Any) -> str:
    """Say seconds or a timedelta."""
    if value is None or value == "":
        return "–"
    if isinstance(value, timedelta):
        return spoken(value)
    if float(value) < 10:
        return f"{float(value):.2g}{SPACE}s"
    return spoken(timedelta(seconds=float(value)))


@register.filter
def age(value: datetime | None) -> SafeString | str:
    """Say how long ago, with the exact time in the title; the page keeps it fresh."""
    if value is None:
        return "never"
    return format_html(
        '<time datetime="{}" title="{}" data-age>{} ago</time>',
        value.isoformat(timespec="seconds"),
        f"{value:%a %d %b %Y, %H:%M:%S} UTC",
        spoken(clock.now() - value),
    )


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """Write a time of day, or day and time when it is not today; exact in the title."""
    if value is None:
        return "–"
    form = "%H:%M:%S" if value.date() == clock.now().date() else "%d %b, %H:%M"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="milliseconds"),
        f"{value:%a %d %b %Y, %H:%M:%S.%f} UTC",
        value.strftime(form),
    )


@register.filter
def at(mapping: dict[Any, Any], key: Any) -> Any:
    """Look a key up in a mapping; None when it is absent."""
    return mapping.get(key) if mapping else None


@register.filter
def share(part: Any, whole: Any) -> float:
    """Return `part` as percent of `whole`, 0 when there is no whole."""
    return 100 * float(part) / float(whole) if whole else 0.0


@register.simple_tag
def spark(points: Sequence[float | None] | None, words: str, bound: float | None = None, css: str = "") -> SafeString:
    """Draw a number over time as a line that fits into a table's cell, with its target; a gap stays a gap.

    Nothing is drawn of nothing. `words` are what a screen reader hears.
    """
    known = [point for point in points or () if point is not None]
    if not points or not known:
        return SafeString("")
    shown = known if bound is None else [*known, bound]
    low, high = min(shown), max(shown)
    scale = (SPARK_HEIGHT - 4) / (high - low) if high > low else 0.0
    step = SPARK_WIDTH / max(1, len(points) - 1)

    def down(value: float) -> str:
        return f"{SPARK_HEIGHT - 2 - (value - low) * scale:.1f}"

    path, drawing = [], False
    for place, point in enumerate(points):
        if point is not None:
            path.append(f"{'L' if drawing else 'M'}{place * step:.1f} {down(point)}{'' if drawing else 'h.5'}")
        drawing = point is not None
    target = "" if bound is None else format_html('<path class="tg" d="M0 {}H{}"/>', down(bound), SPARK_WIDTH)
    return format_html(
        '<svg class="spark cell {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '{}<path class="ln" d="{}"/></svg>',
        css,
        SPARK_WIDTH,
        SPARK_HEIGHT,
        words,
        target,
        "".join(path),
    )


@register.simple_tag
def band(found: Band | None) -> SafeString:
    """Draw an interval as a band, with its middle, its boundary, the side on which it is well, and no difference.

    An open end runs to the edge. Nothing is drawn of nothing.
    """
    if found is None:
        return SafeString("")
    ends = [found.low, found.middle, found.high, found.zero, *found.limits]
    known = [value for value in ends if value is not None]
    least, most = min(known), max(known)
    span = (most - least) or 1.0

    def place(value: float | None, other: float) -> str:
        if value is None:
            return f"{other:.1f}"
        return f"{BAND_EDGE + (value - least) / span * (BAND_WIDTH - 2 * BAND_EDGE):.1f}"

    low, high = place(found.low, 0), place(found.high, BAND_WIDTH)
    limits = [place(value, 0) for value in found.limits]
    well = ""
    if len(limits) > 1:
        well = f"M{limits[0]} 17H{limits[-1]}"
    elif limits:
        well = f"M{limits[0]} 17H{BAND_WIDTH if found.floor else 0}"
    zero = "" if found.zero is None else format_html('<path class="zero" d="M{} 0V18"/>', place(found.zero, 0))
    return format_html(
        '<svg class="gap{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<path class="well" d="{}"/>'
        '<path class="lim" d="{}"/><rect class="core" x="{}" y="6" width="{}" height="6"/>'
        '<circle class="pt" cx="{}" cy="9" r="3"/></svg>',
        " bad" if found.bad else "",
        BAND_WIDTH,
        BAND_HEIGHT,
        found.words,
        zero,
        well,
        "".join(f"M{value} 0V18" for value in limits),
        low,
        f"{float(high) - float(low):.1f}",
        place(found.middle, 0),
    )


@register.simple_tag
def setting(name: str) -> str:
    """Show one of the two public addresses."""
    if name not in ("CONSOLE_URL", "GATEWAY_URL"):
        raise ValueError(f"{name} is not for pages")
    return str(getattr(settings, name))
