"""The arithmetic of a review: how long each thing took, a draft of its words, and charts as plain coordinates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDTH, HEIGHT, PAD, LINE = 640.0, 120.0, 6.0, 12


@dataclass(frozen=True)
class Moments:
    """When what happened; None for what did not, or nobody measured."""

    began_at: datetime | None
    opened_at: datetime
    paged_at: datetime | None = None
    acknowledged_at: datetime | None = None
    killed_at: datetime | None = None
    told_at: datetime | None = None
    obeyed_95_at: datetime | None = None
    obeyed_99_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True)
class Took:
    """How long one thing took, from what to what; None where it did not happen."""

    key: str
    title: str
    counted: str
    seconds: float | None


def took(found: Moments) -> tuple[Took, ...]:
    """Return how long each thing took. What came before its beginning, as a page may, took 0 s."""
    opened, killed = found.opened_at, found.killed_at
    return (
        _took("detect", "To detect", "from the data of the first bad look to the opening", found.began_at, opened),
        _took("page", "To page", "from the opening to the first message that arrived", opened, found.paged_at),
        _took("acknowledge", "To acknowledge", "from the opening", opened, found.acknowledged_at),
        _took("kill", "To kill", "from the opening to the press", opened, killed),
        _took("tell", "To tell of the kill", "from the press until every channel had it", killed, found.told_at),
        _took("obey_95", "To 95 % of devices", "from the press until they obeyed", killed, found.obeyed_95_at),
        _took("obey_99", "To 99 % of devices", "from the press until they obeyed", killed, found.obeyed_99_at),
        _took("mitigate", "To mitigate", "from the opening", opened, found.mitigated_at),
        _took("resolve", "To resolve", "from the opening", opened, found.resolved_at),
    )


def _took(key: str, title: str, counted: str, since: datetime | None, until: datetime | None) -> Took:
    if since is None or until is None:
        return Took(key, title, counted, None)
    return Took(key, title, counted, round(max(0.0, (until - since).total_seconds()), 1))


# ---- charts as they were then ----


@dataclass(frozen=True)
class Drawing:
    """A chart as coordinates in a box of WIDTH by HEIGHT: a path with gaps, the limit's height, and marks across."""

    path: str
    limit_y: float | None
    # where, at which height its word stands, and the word: words of one moment stand below each other
    marks: tuple[tuple[float, int, str], ...]


def drawing(
    points: Sequence[float | None],
    *,
    limit: float | None,
    since: datetime,
    step: timedelta,
    marks: Sequence[tuple[datetime, str]] = (),
) -> Drawing | None:
    """Draw points at equal steps, each in the middle of its step; None when nothing was measured."""
    known = [point for point in points if point is not None]
    if not known:
        return None
    shown = known if limit is None else [*known, limit]
    low, high = min(shown), max(shown)
    scale = (HEIGHT - 2 * PAD) / (high - low) if high > low else 0.0
    width = WIDTH / len(points)

    def down(value: float) -> float:
        return round(HEIGHT - PAD - (value - low) * scale, 1)

    parts: list[str] = []
    for place, point in enumerate(points):
        if point is None:
            continue
        drawn = place > 0 and points[place - 1] is not None
        parts.append(f"{'L' if drawn else 'M'}{(place + 0.5) * width:.1f} {down(point)}{'' if drawn else 'h.5'}")
    whole = step * len(points)
    inside = [(at, words) for at, words in marks if since <= at <= since + whole]
    across = tuple(
        (round(WIDTH * ((at - since) / whole), 1), LINE * (place + 1), words)
        for place, (at, words) in enumerate(sorted(inside))
    )
    return Drawing("".join(parts), None if limit is None else down(limit), across)


# ---- words ----


def summary(incident: dict[str, Any], times: Sequence[Took], *, opened_by: str, causes: Sequence[str]) -> str:
    """Return the draft of the summary: what the numbers say, for people to go on from."""
    known = {one.key: spoken(one.seconds) for one in times if one.seconds is not None}
    said = [f"{incident['title']} ({incident['severity']}) was opened by {opened_by}."]
    if causes:
        said.append(f"Caused by: {', '.join(causes)}.")
    if "detect" in known:
        said.append(f"It was detected after {known['detect']}.")
    if "acknowledge" in known:
        said.append(f"Somebody had it after {known['acknowledge']}.")
    if "kill" in known:
        words = f"LiteRT was killed after {known['kill']}"
        said.append(
            f"{words}; 95 % of the devices obeyed {known['obey_95']} later." if "obey_95" in known else f"{words}."
        )
    if "resolve" in known:
        said.append(f"It was over after {known['resolve']}.")
    return " ".join(said)


def spoken(seconds: float | None) -> str:
    """Say seconds: 9.5 s, 41 s, 4 min 52 s, 2 h 6 min; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


# ---- Markdown ----

_ESCAPED = "\\`*_{}[]<>()#+-!|~"


def escaped(text: str) -> str:
    """Return text as Markdown shows it literally, in one line."""
    return "".join(f"\\{one}" if one in _ESCAPED else one for one in " ".join(text.split()))


def markdown(title: str, facts: dict[str, Any], words: dict[str, str], items: Sequence[dict[str, Any]]) -> str:
    """Return a review as Markdown; its charts become their numbers."""
    incident = facts["incident"]
    lines = [f"# {escaped(title)}", "", f"Severity {incident['severity']}, {facts['environment']}.", ""]
    for heading, text in words.items():
        lines += [f"## {heading}", "", *(_paragraphs(text) or ["Nothing is written yet.", ""])]
    lines += ["## Times", "", "| | took | counted |", "| --- | --- | --- |"]
    lines += [f"| {one['title']} | {spoken(one['seconds'])} | {one['counted']} |" for one in facts["times"]]
    lines += _told(facts.get("receipts", ()))
    lines += ["", "## Action items", ""]
    for one in items:
        lines.append(f"- [{'x' if one['done'] else ' '}] {escaped(one['title'])}, {escaped(one['owner'] or 'nobody')}")
    if not items:
        lines.append("None.")
    lines += ["", "## Timeline", "", "Times are UTC.", ""]
    for row in facts["timeline"]:
        more = f": {escaped(row['text'])}" if row["text"] else ""
        lines.append(f"- {row['at'][:19].replace('T', ' ')} **{escaped(row['title'])}**{more} ({escaped(row['by'])})")
    lines += ["", "## Charts", ""]
    for chart in facts["charts"]:
        limit = f", limit {chart['limit_said']}" if chart["limit_said"] else ""
        lines.append(f"- {escaped(chart['title'])}: {chart['measured']}{limit}")
    if not facts["charts"]:
        lines.append("Nothing was measured in that time.")
    return "\n".join(lines) + "\n"


def _told(receipts: Sequence[dict[str, Any]]) -> list[str]:
    """Return who was told, as a table; nothing of an incident that was never critical."""
    if not receipts:
        return []
    lines = ["", "## Who was told", "", "| | state | at | receipt |", "| --- | --- | --- | --- |"]
    for one in receipts:
        title = f"{one['title']}: {one['who']}" if one["who"] else one["title"]
        at = f"{one['at'][:19].replace('T', ' ')} UTC" if one["at"] else ""
        said = " ".join(part for part in (one["channel"], one["receipt"], one["todo"]) if part)
        lines.append(f"| {escaped(title)} | {one['state']} | {at} | {escaped(said)} |")
    return lines


def _paragraphs(text: str) -> list[str]:
    found: list[str] = []
    for line in text.splitlines():
        if line.strip():
            found += [escaped(line), ""]
    return found
