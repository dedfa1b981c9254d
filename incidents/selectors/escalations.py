"""Reading escalations: what is under way, what proves each step, what is late, and how the second path fares."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from hawkops.core import clock
from hawkops.history.models import HistoryEntry
from incidents.domain.escalation import (
    BEGINNINGS,
    CHECK,
    DEFAULT,
    GRACE,
    Policy,
    Proof,
    State,
    StepState,
    Unfit,
    policy_of,
    proof,
)
from incidents.domain.retrying import State as DeliveryState
from incidents.models import (
    Escalation,
    EscalationPolicy,
    EscalationReading,
    EscalationStep,
    Receipt,
    SecondPage,
    SecondPath,
    StepDelivery,
)
from monitoring.domain.criteria import Severity

ENDED_SHOWN = 20
# how old the second path's newest look may be
SECOND_LATE_AFTER = timedelta(seconds=90)
LIVE_STEPS = [StepState.WAITING.value, StepState.TOLD.value, StepState.UNREACHED.value]


def policies() -> dict[Severity, Policy]:
    """Return the matrix as it rules now; the runbook's where a row can't be used. One query."""
    found = dict(DEFAULT)
    for row in EscalationPolicy.objects.all():
        try:
            found[Severity(row.severity)] = policy_of(row.document)
        except Unfit:
            continue
    return found


@dataclass(frozen=True)
class Shown:
    """A step with its proof."""

    step: EscalationStep
    proof: Proof
    accepted_at: datetime | None

    @property
    def second(self) -> list[SecondPage]:
        """What the second path sent last: it may have tried often."""
        return list(self.step.second_pages.all())[-2:]

    @property
    def is_late(self) -> bool:
        """Whether it is late, or was."""
        return self.proof in (Proof.LATE, Proof.LATE_PROVEN) or self.step.late_at is not None


@dataclass(frozen=True)
class UnderWay:
    """An escalation with its steps."""

    escalation: Escalation
    steps: list[Shown]

    @property
    def next(self) -> EscalationStep | None:
        """The step that is due next; None when none is left or somebody has it."""
        waiting = (one.step for one in self.steps if one.step.state == StepState.WAITING)
        return min(waiting, key=lambda one: one.due_at, default=None)

    @property
    def shown_steps(self) -> list[Shown]:
        """The steps that say something: those that ran or are due, and the next two."""
        ran = [one for one in self.steps if one.step.ran_at or one.is_late or one.step.restored_at]
        ahead = [one for one in self.steps if one not in ran and one.step.state == StepState.WAITING]
        return [*ran, *ahead[:2]]

    @property
    def is_late(self) -> bool:
        """Whether a step of it is late now."""
        return self.escalation.state == State.RUNNING and any(
            one.proof is Proof.LATE or (one.step.late_at and one.accepted_at is None and one.proof is not Proof.AHEAD)
            for one in self.steps
            if one.step.state != StepState.STOPPED
        )


def _with_steps(rows: QuerySet[Escalation]) -> QuerySet[Escalation]:
    pages = StepDelivery.objects.select_related("delivery__channel").prefetch_related(
        Prefetch("delivery__receipts", Receipt.objects.order_by("-number"))
    )
    steps = EscalationStep.objects.order_by("number").prefetch_related(Prefetch("pages", pages), "second_pages")
    return rows.prefetch_related(Prefetch("steps", steps))


def _under_way(row: Escalation, now: datetime) -> UnderWay:
    return UnderWay(row, [_shown(step, now) for step in row.steps.all()])


def _shown(step: EscalationStep, now: datetime) -> Shown:
    times = [
        one.delivery.done_at
        for one in step.pages.all()
        if one.delivery.state == DeliveryState.SENT and one.delivery.done_at is not None
    ]
    accepted = min(times, default=None)
    return Shown(step, proof(step.due_at, accepted, now=now), accepted)


def under_way(environment: str) -> list[UnderWay]:
    """Return what is escalated now: late first, then what runs, the gravest and oldest first. Six queries."""
    now = clock.now()
    rows = Escalation.objects.filter(environment=environment).exclude(state=State.ENDED.value).exclude(kind=CHECK)
    found = [_under_way(row, now) for row in _with_steps(rows)]
    gravity = {one.value: place for place, one in enumerate(Severity)}
    return sorted(
        found,
        key=lambda one: (
            not one.is_late,
            one.escalation.state != State.RUNNING,
            gravity[one.escalation.severity],
            one.escalation.began_at,
        ),
    )


def ended(environment: str, *, limit: int = ENDED_SHOWN) -> list[UnderWay]:
    """Return what ended lately, newest first."""
    now = clock.now()
    rows = Escalation.objects.filter(environment=environment, state=State.ENDED.value).exclude(kind=CHECK)
    return [_under_way(row, now) for row in _with_steps(rows)[:limit]]


def last_check(environment: str) -> UnderWay | None:
    """Return the newest daily check of the way to whoever is on call."""
    row = _with_steps(Escalation.objects.filter(environment=environment, kind=CHECK)).first()
    return _under_way(row, clock.now()) if row else None


def escalation(environment: str, pk: int) -> UnderWay | None:
    """Return one escalation with its steps."""
    row = _with_steps(Escalation.objects.filter(environment=environment, pk=pk)).first()
    return _under_way(row, clock.now()) if row else None


def entries(row: Escalation) -> list[HistoryEntry]:
    """Return what happened to an escalation, oldest first. One query."""
    return list(HistoryEntry.objects.select_related("personal").filter(subject=row.subject).order_by("seq"))


# ---- what is late ----


def unproven() -> QuerySet[EscalationStep]:
    """Return steps of running escalations that nobody's channel accepted, whenever they are due."""
    accepted = StepDelivery.objects.filter(step=OuterRef("pk"), delivery__state=DeliveryState.SENT.value)
    return (
        EscalationStep.objects.filter(~Exists(accepted), escalation__state=State.RUNNING.value, state__in=LIVE_STEPS)
        .select_related("escalation")
        .order_by("due_at", "pk")
    )


def late_steps(environment: str | None = None) -> list[EscalationStep]:
    """Return the steps that are late now, marked by the auditor. One query."""
    rows = unproven().filter(late_at__isnull=False)
    return list(rows.filter(escalation__environment=environment) if environment is not None else rows)


def overdue(now: datetime) -> list[EscalationStep]:
    """Return the steps whose grace is over, marked or not. One query."""
    return list(unproven().filter(due_at__lt=now - GRACE))


def unread(now: datetime) -> bool:
    """Say whether an entry that begins an escalation has been waiting longer than its grace. Two queries."""
    place = EscalationReading.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
    return HistoryEntry.objects.filter(seq__gt=place, verb__in=BEGINNINGS, at__lt=now - GRACE).exists()


# ---- the second path ----


@dataclass(frozen=True)
class Second:
    """How the second path fares: when it last looked, and how it would page."""

    seen_at: datetime | None
    ways: Sequence[str]

    @property
    def is_late(self) -> bool:
        """Whether it has not looked for a while."""
        return self.seen_at is None or clock.now() - self.seen_at > SECOND_LATE_AFTER

    @property
    def is_mute(self) -> bool:
        """Whether it could tell nobody."""
        return not self.ways


def second_ways() -> list[str]:
    """Return how the second path pages by the settings, in words without their secrets."""
    found = []
    if settings.SECOND_PATH_EMAIL and settings.EMAIL_HOST:
        found.append("mail to " + ", ".join(settings.SECOND_PATH_EMAIL))
    if settings.SECOND_PATH_WEBHOOK:
        found.append("a webhook")
    return found


def second() -> Second:
    """Return how the second path fares. One query."""
    row = SecondPath.objects.filter(pk=1).first()
    return Second(row.seen_at if row else None, [one for one in (row.ways if row else "").split("; ") if one])
