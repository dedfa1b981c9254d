"""What a draft of a review is made of, read once: moments, the timeline, and the alerts' own numbers over the time."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from hawkops.history.models import HistoryEntry
from incidents.domain.kill_clock import Step
from incidents.domain.message import Action
from incidents.domain.news import incident_thread
from incidents.domain.retrying import State as Sent
from incidents.domain.review import Moments, took
from incidents.models import Delivery, Incident, KillClock
from incidents.selectors.incidents import timeline
from incidents.selectors.receipts import wanted
from monitoring.domain.criteria import Criterion, Purpose, shown
from monitoring.selectors.criteria import criteria
from monitoring.selectors.flowing import SLOT, traces

BEFORE, AFTER = timedelta(hours=2), timedelta(hours=1)
# in steps of ten minutes, which are kept for a month
CHARTED_MOST = timedelta(days=7)
# a message of what caused it is made moments before the incident itself
PAGED_BEFORE = timedelta(minutes=5)


def facts(found: Incident, *, now: datetime) -> dict[str, Any]:
    """Return everything that a draft freezes, as plain JSON values."""
    return {
        "made_at": now.isoformat(),
        "environment": found.environment,
        "incident": {"number": found.pk, "title": found.title, "severity": found.severity},
        "times": [asdict(one) for one in took(moments(found))],
        "timeline": [
            {"at": one.at.isoformat(), "title": one.title, "text": one.text, "by": one.by, "seq": one.seq}
            for one in reversed(timeline(found))
        ],
        "receipts": [one.document() for one in wanted(found)],
        "charts": _charts(found, now),
    }


def moments(found: Incident) -> Moments:
    """Return when what happened. Who took it first counts, whatever came after that. Two queries."""
    taken = HistoryEntry.objects.filter(subject=found.subject, verb="incident.acknowledged").order_by("seq")
    obeyed = {share: datetime.fromisoformat(at) for share, at in found.obeyed.items()}
    return Moments(
        # of one that a person opened nobody measured when it began
        began_at=found.began_at if found.began_at < found.opened_at else None,
        opened_at=found.opened_at,
        paged_at=_paged_at(found),
        acknowledged_at=taken.values_list("at", flat=True).first(),
        killed_at=found.killed_at,
        told_at=_told_at(found),
        obeyed_95_at=obeyed.get("95"),
        obeyed_99_at=obeyed.get("99"),
        mitigated_at=found.mitigated_at,
        resolved_at=found.resolved_at,
    )


def _paged_at(found: Incident) -> datetime | None:
    """Return when the first message that it or its cause fired arrived anywhere."""
    thread = f"hawkops:{found.environment}:{incident_thread(found.kind, str(found.pk))}"
    sent = Delivery.objects.filter(
        thread=thread,
        action=Action.TRIGGER.value,
        state=Sent.SENT.value,
        happened_at__gte=found.opened_at - PAGED_BEFORE,
        happened_at__lte=found.resolved_at or found.opened_at + AFTER,
    )
    return sent.order_by("done_at").values_list("done_at", flat=True).first()


def _told_at(found: Incident) -> datetime | None:
    """Return when every channel had been told of its kill. One query."""
    row = KillClock.objects.filter(entry=found.killed_entry).first() if found.killed_entry else None
    return row.reached.get(Step.TOLD) if row is not None else None


def _charts(found: Incident, now: datetime) -> list[dict[str, Any]]:
    """Return the numbers that alerts judge, over the time and some around it; without those that nobody reported."""
    began = min(found.began_at, found.opened_at) - BEFORE
    since = datetime.fromtimestamp(began.timestamp() // SLOT.total_seconds() * SLOT.total_seconds(), tz=UTC)
    until = min(now, (found.resolved_at or now) + AFTER, since + CHARTED_MOST)
    wanted = [one for one in criteria(purposes=[Purpose.ALERT]) if not one.broken]
    steps = -(-(until - since) // SLOT)
    numbers = traces(found.environment, wanted, since=since, until=until, steps=steps)
    return [
        _chart(one, numbers[one.key], since) for one in wanted if any(point is not None for point in numbers[one.key])
    ]


def _chart(one: Criterion, points: list[float | None], since: datetime) -> dict[str, Any]:
    known = [point for point in points if point is not None]
    return {
        "title": one.title,
        "says": one.sentence(),
        "measured": f"between {shown(min(known), one)} and {shown(max(known), one)}",
        "limit": one.threshold,
        "limit_said": "" if one.threshold is None else shown(one.threshold, one),
        "points": points,
        "since": since.isoformat(),
        "step_seconds": SLOT.total_seconds(),
    }
