"""Proving that escalations ran: what the history says was planned is compared with the rows, and each due step with its
receipts. What is gone is put back, what is late is marked; both are entries of the history.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hawkops.core import clock
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from incidents.domain.escalation import GRACE, State, StepState, span_of
from incidents.models import Escalation, EscalationStep, StepDelivery
from incidents.selectors import escalations as selectors

log = logging.getLogger(__name__)
AUDITOR = Actor.rule("escalation-auditor")
BEGUN = "escalation.begun"
PLANS = (BEGUN, "escalation.resumed", "escalation.restarted")
RAN = ("escalation.step_told", "escalation.step_unreached")
# escalations that ended longer ago are not looked at again
LOOKED_BACK = timedelta(days=1)
BEGUN_BACK = timedelta(days=7)


def audit() -> int:
    """Look at every escalation that is under way or ended lately; return how many faults were found."""
    now = clock.now()
    return _lost(now) + sum(_rows(row.pk, now) for row in _looked_at(now)) + _late(now)


def _looked_at(now: datetime) -> list[Escalation]:
    open_ = Escalation.objects.exclude(state=State.ENDED.value)
    lately = Escalation.objects.filter(state=State.ENDED.value, ended_at__gte=now - LOOKED_BACK)
    return [*open_.order_by("pk"), *lately.order_by("pk")]


def _planned(subject: str) -> dict[int, dict[str, Any]]:
    """Return the steps that the history says were planned, each as it was planned last."""
    found: dict[int, dict[str, Any]] = {}
    for entry in HistoryEntry.objects.filter(subject=subject, verb__in=PLANS).order_by("seq"):
        if entry.verb == "escalation.restarted":
            found = {number: one for number, one in found.items() if datetime.fromisoformat(one["at"]) <= entry.at}
        for one in entry.after["steps"]:
            found[int(one["number"])] = one
    return found


# ---- rows that are gone, or altered ----


def _lost(now: datetime) -> int:
    """Put back escalations whose row is gone though nothing ended them."""
    begun = list(HistoryEntry.objects.filter(verb=BEGUN, at__gte=now - BEGUN_BACK).order_by("seq"))
    ids = [int(entry.subject.partition(":")[2]) for entry in begun]
    known = {f"escalation:{pk}" for pk in Escalation.objects.filter(pk__in=ids).values_list("pk", flat=True)}
    ended = set(
        HistoryEntry.objects.filter(verb="escalation.ended", at__gte=now - BEGUN_BACK).values_list("subject", flat=True)
    )
    found = 0
    for entry in begun:
        if entry.subject in known or entry.subject in ended:
            continue
        with change(actor=AUDITOR, environment=entry.environment, cause=entry.seq) as this:
            after = entry.after
            key = str(after["subject"])
            Escalation.objects.create(
                pk=int(entry.subject.partition(":")[2]),
                environment=entry.environment,
                kind=key.partition(":")[0],
                key=key,
                covers=after.get("covers", []),
                severity=after["severity"],
                title=after["title"],
                simulated=bool(after.get("simulated")),
                policy=after["policy"],
                state=State.RUNNING.value,
                began_at=entry.at,
                entry=entry.cause_id,
            )
            this.record("escalation.restored", subject=entry.subject, after={"title": after["title"]})
            announce("escalations", entry.environment)
        found += 1
    return found


def _rows(pk: int, now: datetime) -> int:
    """Compare the steps of one escalation with their plan; what is gone or altered is put back."""
    with change(actor=AUDITOR) as this:
        row = Escalation.objects.select_for_update(no_key=True).get(pk=pk)
        this.environment, this.cause = row.environment, row.entry
        known = {step.number: step for step in row.steps.all()}
        planned, found = _planned(row.subject), 0
        told = _told(row.subject) if planned.keys() - known.keys() else {}
        for number, one in sorted(planned.items()):
            due_at, step = datetime.fromisoformat(one["at"]), known.get(number)
            if step is None:
                _put_back(row, number, one, due_at, told.get(number), now)
                verb = "escalation.step_missing"
            elif step.state == StepState.WAITING and (step.due_at, step.target) != (due_at, one["target"]):
                step.due_at, step.target, step.restored_at = due_at, one["target"], now
                step.save(update_fields=["due_at", "target", "restored_at"])
                verb = "escalation.step_altered"
            else:
                continue
            found += 1
            after = {"title": row.title, "number": number, "target": one["target"], "due_at": one["at"]}
            this.record(verb, subject=row.subject, after=after)
        if found:
            announce("escalations", row.environment)
    return found


def _told(subject: str) -> dict[int, HistoryEntry]:
    """Return the entries that say which steps were run already: those are not run again."""
    return {
        int(entry.after["number"]): entry
        for entry in HistoryEntry.objects.filter(subject=subject, verb__in=RAN).order_by("seq")
    }


def _put_back(
    row: Escalation, number: int, one: Mapping[str, Any], due_at: datetime, ran: HistoryEntry | None, now: datetime
) -> None:
    state = StepState.WAITING if row.state == State.RUNNING else StepState.STOPPED
    if ran is not None:
        state = StepState.TOLD
    EscalationStep.objects.create(
        escalation=row,
        number=number,
        target=one["target"],
        says=one["says"],
        business=one["business"],
        after_seconds=int(span_of(one["after"]).total_seconds()),
        due_at=due_at,
        state=state.value,
        ran_at=ran.at if ran is not None else None,
        who=str(ran.after.get("who") or "") if ran is not None else "",
        restored_at=now,
        note="Its row was gone; the auditor put it back.",
    )


# ---- late steps ----


def _late(now: datetime) -> int:
    """Mark the steps whose grace is over without a receipt."""
    found = 0
    for step in selectors.overdue(now):
        if step.late_at is not None:
            continue
        with change(actor=AUDITOR, environment=step.escalation.environment) as this:
            row = Escalation.objects.select_for_update(no_key=True).get(pk=step.escalation_id)
            this.cause = row.entry
            # whoever runs it may have done so meanwhile
            fresh = selectors.unproven().filter(pk=step.pk, due_at__lt=now - GRACE, late_at=None).first()
            if fresh is None:
                continue
            fresh.late_at = now
            fresh.save(update_fields=["late_at"])
            after = {
                "title": f"A page is late: {row.title}"[:200],
                "number": fresh.number,
                "target": fresh.target,
                "due_at": fresh.due_at.isoformat(),
            }
            this.record("escalation.step_late", subject=row.subject, after=after, reason=why_late(fresh, kept=True))
            announce("escalations", row.environment)
        found += 1
    return found


def why_late(step: EscalationStep, *, kept: bool = False) -> str:
    """Say why nobody's channel accepted a step; `kept` as the history keeps it, without a person's own names."""
    if step.state == StepState.WAITING:
        return "Nobody ran it: the workers and the console's courier are down or behind."
    if step.state == StepState.UNREACHED:
        return "There is no channel to tell it by."
    pages = StepDelivery.objects.filter(step=step).select_related("delivery__channel")
    channels = [(one.delivery.channel, one.delivery.state) for one in pages]
    states = [f"{channel.kept_as if kept else channel.name} {state}" for channel, state in channels]
    return f"No receipt: {', '.join(states)}." if states else "Its deliveries are gone."
