"""The changes that charts mark: every history entry that can move a reading."""

import string
from collections.abc import Sequence
from datetime import datetime

from django.urls import reverse

from hawkops.core import charts
from hawkops.core.charts import Mark
from hawkops.core.templatetags.look import percent
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry

# what moves readings: flags, releases and their phases, models, incidents
PREFIXES = ("flag.", "release.", "phase.", "rollback.", "lockdown.", "incident.")


def change_marks(environment: str, *, since: datetime) -> list[Mark]:
    """Return a mark for every such change since then, the newest that there are letters for, oldest first. One query."""
    found = history.entries(environment=environment, verb_prefixes=PREFIXES, since=since)[: charts.MARKS_MOST]
    return [
        Mark(entry.at, _said(entry), reverse("history:entry", kwargs={"environment": environment, "seq": entry.seq}))
        for entry in reversed(list(found))
    ]


def lettered(marks: Sequence[Mark]) -> list[dict[str, str]]:
    """Give marks the letters that the charts draw."""
    return [
        {"letter": letter, "text": mark.text, "url": mark.url}
        for letter, mark in zip(string.ascii_uppercase, marks, strict=False)
    ]


def _said(entry: HistoryEntry) -> str:
    """Say a change in one sentence: what, by whom, why."""
    key = entry.subject.partition(":")[2]
    before, after = entry.before or {}, entry.after or {}
    if entry.verb == "flag.killed":
        what = "LiteRT killed, cloud fallback forced on"
    elif entry.verb == "flag.reenabled":
        what = f"{key} re-enabled"
    elif entry.verb == "flag.created":
        what = "Flags created"
    elif entry.verb == "flag.override_cleared":
        what = f"Override of {key} lifted"
    elif entry.verb == "flag.override_set":
        override = after.get("override") if isinstance(after, dict) else None
        what = f"{key} forced {override['variant']}" if isinstance(override, dict) else f"{key} overridden"
    elif entry.verb == "flag.percentage_set" and {"percentage"} <= set(before) & set(after):
        what = f"{key} {percent(before['percentage'])} to {percent(after['percentage'])}"
    elif entry.verb.startswith("flag."):
        what = f"{key}: {entry.verb.removeprefix('flag.').replace('_', ' ')}"
    else:
        what = f"{entry.subject.replace(':', ' ')}: {entry.verb.partition('.')[2].replace('_', ' ')}"
    why = f": {entry.reason}" if entry.reason else ""
    return f"{what}, {entry.actor_label}{why}"
