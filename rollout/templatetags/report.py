"""What the validation report is drawn with: it stands alone, so that icons, colours and charts are all inside it."""

from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hawkops.core import svg
from hawkops.core.svg import Line
from hawkops.core.verdicts import Verdict
from rollout.domain.report import Reading

register = template.Library()
LABELS = {"ROLL BACK": ("fail", "down"), "HOLD": ("warning", "pause"), "PROCEED": ("pass", "pass")}


@register.simple_tag
def tokens() -> SafeString:
    """Give the colours and sizes of the pages."""
    return SafeString(_static("css/tokens.css"))


@register.simple_tag
def sprite() -> SafeString:
    """Give the icons of the pages, to be used from within."""
    return SafeString(_static("icons.svg").replace(' xmlns="http://www.w3.org/2000/svg"', " hidden", 1))


@cache
def _static(name: str) -> str:
    return (Path(settings.STATICFILES_DIRS[0]) / name).read_text()


@register.simple_tag
def mark(name: str, css: str = "") -> SafeString:
    """Draw an icon of the sprite in the page; the word stands beside it."""
    return format_html('<svg class="ico {}" aria-hidden="true"><use href="#{}"/></svg>', css, name)


@register.simple_tag
def badge(verdict: str | None, css: str = "") -> SafeString:
    """Draw a verdict as shape and word; None is not in scope."""
    if verdict is None:
        return format_html('<span class="badge out {}">not in scope</span>', css)
    found = Verdict(verdict)
    return format_html('<span class="badge {} {}">{}{}</span>', found.css, css, mark(found.css), found.label)


@register.simple_tag
def advised(recommendation: str) -> SafeString:
    """Draw a recommendation as shape and word."""
    css, icon = LABELS[recommendation]
    return format_html('<span class="badge big {}">{}{}</span>', css, mark(icon), recommendation)


@register.simple_tag
def chart(reading: Reading) -> SafeString:
    """Draw a reading over the last hours: both sides, its limit, its interval; nothing where nothing was reported."""
    drawn = reading.chart
    if drawn is None:
        return SafeString("")
    sim = " sim" if reading.simulated else ""
    band = (drawn.low, drawn.high) if drawn.low is not None and drawn.high is not None else None
    words = f"{reading.title}, {drawn.what}: from {drawn.lowest_shown} to {drawn.highest_shown}"
    words += f", wanted {drawn.limit_shown}" if drawn.limit_shown else ""
    return svg.over_time(
        [Line(f"control{sim}", drawn.control), Line(f"treatment{sim}", drawn.treatment)],
        words,
        limit=drawn.limit if drawn.limit_near else None,
        missed=reading.verdict is Verdict.FAIL,
        band=band,
        begins=drawn.begins,
    )


@register.filter
def has_control(reading: Reading) -> bool:
    """Say whether the other side of the comparison reported anything."""
    return reading.chart is not None and any(value is not None for value in reading.chart.control)


@register.simple_tag
def gap(reading: Reading) -> SafeString:
    """Draw a comparison's interval beside its limit; nothing where it has none."""
    if not reading.compares or None in (reading.value, reading.low, reading.high, reading.threshold):
        return SafeString("")
    if reading.unit or reading.low == reading.high or reading.chart is None or reading.chart.band:
        return SafeString("")
    assert reading.value is not None and reading.low is not None
    assert reading.high is not None and reading.threshold is not None
    words = f"{reading.title}: {reading.value_shown} {reading.interval_shown}, wanted {reading.target_shown}"
    bad = reading.verdict is Verdict.FAIL
    zero = 1.0 if reading.value_shown.endswith("×") else 0.0
    return svg.interval(
        reading.low, reading.value, reading.high, zero=zero, limit=reading.threshold, words=words, bad=bad
    )
