"""What a compliance pack is shown with: its document holds moments and verdicts as texts."""

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hawkops.core.verdicts import Verdict

register = template.Library()
BESIDE = {"OUT_OF_SCOPE": "not in scope", "OUTSIDE": "outside HawkOps"}


@register.filter
def when(text: str | None) -> str:
    """Write a moment of a document with its date; a dash for none."""
    return f"{datetime.fromisoformat(text):%d %b %Y, %H:%M}" if text else "–"


@register.simple_tag
def judged(verdict: str, icons: str = "") -> SafeString:
    """Draw a verdict as shape and word; `icons` is the sprite's address, empty where the page holds it itself."""
    if verdict in BESIDE:
        return format_html('<span class="chip">{}</span>', BESIDE[verdict])
    found = Verdict(verdict)
    return format_html(
        '<span class="badge {0}"><svg class="ico" aria-hidden="true"><use href="{1}#{0}"/></svg>{2}</span>',
        found.css,
        icons,
        found.label,
    )
