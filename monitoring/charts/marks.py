"""The changes that charts mark: every history entry that can move a reading."""

import string
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.urls import reverse

from hawkops.core import charts
from hawkops.core.charts import Mark
from hawkops.core.templatetags.look import percent
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry

# what moves readings or the targets they are held against: flags, releases and their phases, models, incidents, limits
PREFIXES = ("flag.", "release.", "phase.", "rollback.", "lockdown.", "incident.", "criterion.", "profile.")
# what followed: a storm of alerts must not take the letter of the change that caused it
EFFECTS = ("alert.fired",)
INSTALLATION = "by the installation"


def change_marks(environment: str, *, since: datetime, until: datetime | None = None) -> list[Mark]:
    """Return a mark for every such change in that time, the newest that there are letters for, oldest first.

    Alerts that fired get the letters that changes leave. Two queries.
    """
    found: list[HistoryEntry] = []
    for prefixes in (PREFIXES, EFFECTS):
        entries = history.entries(environment=environment, verb_prefixes=prefixes, since=since, until=until)
        found += entries[: charts.MARKS_MOST - len(found)]
    return [
        Mark(entry.at, _said(entry), reverse("history:entry", kwargs={"environment": environment, "seq": entry.seq}))
        for entry in sorted(found, key=lambda entry: entry.seq)
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
    elif (
        entry.verb in ("criterion.changed", "profile.changed") and isinstance(before, dict) and isinstance(after, dict)
    ):
        what = f"{key}: {_differing(before, after)}"
    elif entry.verb == "alert.fired" and isinstance(after, dict):
        what = f"Alert fired: {after.get('title') or key}"
    elif entry.verb.startswith("flag."):
        what = f"{key}: {entry.verb.removeprefix('flag.').replace('_', ' ')}"
    else:
        noun, _, did = entry.verb.partition(".")
        named = after.get("name") if isinstance(after, dict) else None
        what = f"{noun.capitalize()} {named or key} {did.replace('_', ' ')}"
    by, why = _by(entry), entry.reason
    if entry.verb == "alert.fired":
        return f"{what}. {why}" if why else what
    if by == INSTALLATION:
        return f"{what}, {by}"
    return f"{what}, {by}: {why}" if why else f"{what}, {by}"


def _by(entry: HistoryEntry) -> str:
    """Say who did it: people by their name, what acted by itself as what it is."""
    kind, label = entry.actor.partition(":")[0], entry.actor_label
    if entry.actor == "system:up":
        return INSTALLATION
    return {"rule": f"the rule {label}", "key": f"the key {label}", "system": f"the command {label}"}.get(kind, label)


def _differing(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Say what of a document changed: `threshold 5000 ms to 3000 ms`."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_short(before.get(name))} to {_short(after.get(name))}" for name in names[:3])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(part)}" for name, part in value.items())
    return "none" if value in (None, "", []) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
