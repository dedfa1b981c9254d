"""Escalations: begun, acknowledged, resumed and ended by entries of the history; their steps told when they are due.

What is stored says what is due: whoever was dead meanwhile makes up for it, and what was late says so.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.erasure import Named
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput, NotFound
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import Change, change
from incidents.domain import escalation as domain
from incidents.domain.calendar import zone_of
from incidents.domain.escalation import (
    CHECK,
    DEFAULT,
    GRACE,
    MOVES,
    Due,
    Policy,
    Sign,
    Signal,
    State,
    Step,
    StepState,
    Subject,
    Target,
    Unfit,
    plan,
    policy_of,
    resumed,
    signal_of,
)
from incidents.domain.message import Action, Link, Message
from incidents.domain.retrying import State as DeliveryState
from incidents.domain.routing import Topic
from incidents.models import (
    Channel,
    Escalation,
    EscalationPolicy,
    EscalationReading,
    EscalationStep,
    Rotation,
    StepDelivery,
)
from incidents.models.notifications import Kind
from incidents.selectors import escalations as selectors
from incidents.selectors import oncall
from incidents.services import acknowledging
from incidents.services.outbox import delivery_of
from monitoring.domain.alerting import OWNER
from monitoring.domain.criteria import Severity

log = logging.getLogger(__name__)
RULE = Actor.rule("escalation")
CHUNK = 200
CHECK_POLICY = Policy((Step(timedelta(), Target.ON_CALL, "The daily check that a page arrives. Nothing is wrong."),))


# ---- the matrix ----


def policies_seed(*, actor: Actor) -> bool:
    """Store the runbook's matrix, where there is none."""
    missing = [one for one in Severity if not EscalationPolicy.objects.filter(pk=one.value).exists()]
    if not missing:
        return False
    with change(actor=actor, reason="Installation") as this:
        for severity in missing:
            document = DEFAULT[severity].document()
            EscalationPolicy.objects.create(severity=severity.value, document=document)
            this.record("escalation_policy.seeded", subject=f"escalation_policy:{severity.value}", after=document)
    return True


def policy_save(
    *, severity: str, document: dict[str, Any], actor: Actor, reason: str = "", request_id: str = ""
) -> bool:  # fmt: skip
    """Change a row of the matrix for what begins from now on; False when it is so already. Raises InvalidInput."""
    if severity not in set(Severity):
        raise NotFound(f"There is no severity {severity[:20]!r}.")
    try:
        wanted = policy_of(document).document()
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    with change(actor=actor, reason=reason[:300], request_id=request_id) as this:
        row = EscalationPolicy.objects.select_for_update(no_key=True).filter(pk=severity).first()
        before = row.document if row else None
        if before == wanted:
            return False
        EscalationPolicy.objects.update_or_create(pk=severity, defaults={"document": wanted})
        this.record(
            "escalation_policy.changed", subject=f"escalation_policy:{severity}", before=before, after=wanted
        )  # fmt: skip
    return True


# ---- from the history ----


def escalate() -> int:
    """Read on in the history, resume what ran out, and tell what is due; return how many steps were told."""
    read_on()
    return run_due()


def read_on() -> int:
    """Read on until the end of the history; return how many entries meant something."""
    found = 0
    while True:
        read, meant = _read_chunk()
        found += meant
        if read < CHUNK:
            return found


def _read_chunk() -> tuple[int, int]:
    with change(actor=RULE):
        place = EscalationReading.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=1).first()
        if place is None:  # another reads just now
            return 0, 0
        entries = list(
            HistoryEntry.objects.select_related("personal").filter(seq__gt=place.seq).order_by("seq")[:CHUNK]
        )
        if not entries:
            return 0, 0
        meant = sum(_heard(entry) for entry in entries if entry.verb in domain.VERBS)
        place.seq, place.at = entries[-1].seq, clock.now()
        place.save(update_fields=["seq", "at"])
    return len(entries), meant


def _heard(entry: HistoryEntry) -> bool:
    """Act on one entry; one that can't be understood must hold up no other."""
    environment = entry.environment or OWNER
    try:
        signal = signal_of(
            seq=entry.seq, verb=entry.verb, subject=entry.subject, after=entry.after, by=entry.actor_label
        )
        if signal is None or entry.hidden:
            return False
        with change(actor=RULE, environment=environment, cause=entry.seq) as this:
            _apply(this, environment, signal, entry.at)
    except (HawkOpsError, ValueError, TypeError, KeyError, AttributeError):
        log.exception("escalations.entry_not_understood", extra={"seq": entry.seq})
        return False
    return True


@dataclass(frozen=True)
class _Standing:
    """What whoever keeps a subject says of it now."""

    over: bool
    taken: bool
    severity: Severity | None
    title: str


def _standing(environment: str, key: str) -> _Standing | None:
    """Ask whoever keeps a subject how it stands; None when nobody keeps such."""
    thread = f"hawkops:{environment}:{key}"
    keeper = acknowledging.acknowledger_of(thread)
    if keeper is None:
        return None
    found = keeper.found(environment, thread)
    free = [one for one in found if not one.taken_by]
    considered = [(domain.severity_of(one.severity), one.title) for one in free or found]
    worst = min(considered, key=lambda one: domain.GRAVITY.index(one[0]), default=(None, ""))
    title = worst[1] if len(considered) < 2 else f"{worst[1]}, and {len(considered) - 1} more"
    return _Standing(not found, bool(found) and not free, worst[0], title[:200])


def _apply(this: Change, environment: str, signal: Signal, at: datetime) -> None:
    """Do what a signal means."""
    subject = signal.subject
    row, is_cover = _open(environment, subject)
    standing = None if is_cover else _standing(environment, subject.key)
    if subject.kind == "alerts" and is_cover:
        standing = _standing(environment, subject.key)
    if signal.sign in (Sign.BEGINS, Sign.GOES_ON):
        if standing is not None and (standing.over or standing.taken):
            return  # it has ended, or somebody has it, since
        if row is None:
            _begin(this, environment, _as_it_stands(subject, standing), signal, at)
        elif row.kind == CHECK:
            _end(this, row, by="the next check: it never arrived")
            _begin(this, environment, subject, signal, at)
        elif row.state == State.ACKNOWLEDGED and signal.sign is Sign.GOES_ON:
            _resume(this, row, why="nobody acknowledged it again")
        elif row.key == subject.key and row.state == State.ACKNOWLEDGED:
            _restart(this, row, _as_it_stands(subject, standing), why="something new began in it")
        elif not is_cover:
            _raise(this, row, _as_it_stands(subject, standing))
    elif row is None:
        return
    elif signal.sign is Sign.ACKNOWLEDGED:
        if row.state == State.ACKNOWLEDGED and row.acknowledged_at is not None and row.acknowledged_at >= at:
            return  # it was taken here, and its subject with it
        if standing is None or standing.taken or standing.over:
            _acknowledge(this, row, by=signal.by)
    elif signal.sign is Sign.CHANGED:
        _raise(this, row, subject)
    elif not is_cover and (standing is None or standing.over):
        _end(this, row, by=signal.by)
    elif not is_cover and standing is not None and standing.taken and row.state == State.RUNNING:
        _acknowledge(this, row, by="whoever has what is left")


def _as_it_stands(subject: Subject, standing: _Standing | None) -> Subject:
    if standing is None or standing.severity is None:
        return subject
    return Subject(
        subject.kind, subject.key, standing.severity, standing.title, subject.simulated, subject.covers
    )  # fmt: skip


def _open(environment: str, subject: Subject) -> tuple[Escalation | None, bool]:
    """Return the escalation of a subject, or the one that covers it, locked; and whether it only covers it."""
    rows = (
        Escalation.objects.select_for_update(no_key=True)
        .filter(environment=environment)
        .exclude(state=State.ENDED.value)
    )
    own = rows.filter(key=subject.key).first()
    if own is not None:
        return own, False
    covering = rows.filter(covers__contains=[subject.key]).first()
    if covering is not None:
        return covering, True
    if subject.covers:  # an incident takes over what is under way for its alerts
        taken = rows.filter(key__in=subject.covers).order_by("pk").first()
        if taken is not None:
            return taken, False
    return None, False


# ---- moves ----


def _policy(subject: Subject) -> Policy:
    return CHECK_POLICY if subject.kind == CHECK else selectors.policies()[subject.severity]


def _begin(this: Change, environment: str, subject: Subject, signal: Signal, at: datetime) -> Escalation:
    policy = _policy(subject)
    row = Escalation.objects.create(
        environment=environment,
        kind=subject.kind,
        key=subject.key,
        covers=list(subject.covers),
        severity=subject.severity.value,
        title=subject.title[:200],
        simulated=subject.simulated,
        policy=policy.document(),
        state=State.RUNNING.value,
        began_at=at,
        entry=signal.seq,
    )
    _planned(this, row, "escalation.begun", plan(policy, start=at, calendar=oncall.hours()))
    return row


def _planned(
    this: Change, row: Escalation, verb: str, dues: Sequence[Due], *, before: Any = None, reason: str = ""
) -> None:  # fmt: skip
    """Store steps at their times, and write the same into the history: the auditor compares the two."""
    known = {one.number: one for one in row.steps.all()}
    for due in dues:
        step = known.get(due.number) or EscalationStep(escalation=row, number=due.number)
        _written(step, due).save()
    after = {**state(row), "policy": row.policy, "steps": [due.document() for due in dues]}
    this.record(verb, subject=row.subject, before=before, after=after, reason=reason)
    announce("escalations", row.environment)


def _written(step: EscalationStep, due: Due) -> EscalationStep:
    step.target, step.says, step.business = due.step.target.value, due.step.says, due.step.business
    step.after_seconds, step.due_at = int(due.step.after.total_seconds()), due.at
    step.state = StepState.WAITING.value
    return step


def state(row: Escalation) -> dict[str, Any]:
    """Return an escalation as the history keeps it."""
    return {
        "title": row.title,
        "subject": row.key,
        "severity": row.severity,
        "state": row.state,
        **({"simulated": True} if row.simulated else {}),
        **({"covers": row.covers} if row.covers else {}),
        **({"until": row.acknowledged_until.isoformat()} if row.acknowledged_until else {}),
    }


def _move(row: Escalation, wanted: State) -> None:
    if wanted not in MOVES[State(row.state)]:
        raise Conflict(f"The escalation is {row.state}.")
    row.state = wanted.value


def _stop_steps(row: Escalation) -> None:
    row.steps.filter(state=StepState.WAITING.value).update(state=StepState.STOPPED.value)


def _acknowledge(this: Change, row: Escalation, *, by: str, reason: str = "") -> None:
    """Stop the steps for as long as an acknowledgement counts; one more makes it last longer."""
    before, now = state(row), clock.now()
    if row.state != State.ACKNOWLEDGED:
        _move(row, State.ACKNOWLEDGED)
    span = policy_of(row.policy).acknowledged_for
    row.acknowledged_at, row.acknowledged_by = now, by[:150]
    row.acknowledged_until = now + span if span is not None else None
    row.save(update_fields=["state", "acknowledged_at", "acknowledged_by", "acknowledged_until"])
    _stop_steps(row)
    this.record("escalation.acknowledged", subject=row.subject, before=before, after=state(row), reason=reason)
    announce("escalations", row.environment)


def _resume(this: Change, row: Escalation, *, why: str) -> None:
    """Go on where the acknowledgement stopped it: the next step at once."""
    before, policy, now = state(row), policy_of(row.policy), clock.now()
    _move(row, State.RUNNING)
    row.acknowledged_until = None
    row.save(update_fields=["state", "acknowledged_until"])
    stopped = row.steps.filter(state=StepState.STOPPED.value, ran_at=None).order_by("number")
    left = [Due(one.number, _step(one), one.due_at) for one in stopped]
    last = row.steps.order_by("-number").values_list("number", flat=True).first() or 0
    dues = resumed(left, policy, now=now, calendar=oncall.hours(), first=last + 1)
    _planned(this, row, "escalation.resumed", dues, before=before, reason=why)


def _step(row: EscalationStep) -> Step:
    return Step(timedelta(seconds=row.after_seconds), Target(row.target), row.says, row.business)


def _restart(this: Change, row: Escalation, subject: Subject, *, why: str) -> None:
    """Begin again from the first step, by the policy of the present severity."""
    before, policy = state(row), _policy(subject)
    if row.state != State.RUNNING:
        _move(row, State.RUNNING)
    row.kind, row.key, row.title, row.severity = subject.kind, subject.key, subject.title[:200], subject.severity.value
    row.covers = sorted({*row.covers, *subject.covers})
    row.policy, row.acknowledged_until = policy.document(), None
    row.save()
    # these are replaced, so that no acknowledgement that runs out brings them back
    row.steps.filter(state__in=[StepState.WAITING.value, StepState.STOPPED.value], ran_at=None).update(
        state=StepState.STOPPED.value, ran_at=clock.now(), note="Begun again instead."
    )
    last = row.steps.order_by("-number").values_list("number", flat=True).first() or 0
    dues = plan(policy, start=clock.now(), calendar=oncall.hours(), first=last + 1)
    _planned(this, row, "escalation.restarted", dues, before=before, reason=why)


def _raise(this: Change, row: Escalation, subject: Subject) -> None:
    """Follow a subject that is graver now, or that takes this escalation over; a lesser one changes nothing."""
    if domain.worse(subject.severity, domain.severity_of(row.severity)):
        _restart(this, row, subject, why="it is graver now")
        return
    if row.key == subject.key:
        return
    before = state(row)
    row.kind, row.key, row.title = subject.kind, subject.key, subject.title[:200]
    row.covers = sorted({*row.covers, *subject.covers})
    row.save()
    this.record("escalation.taken_over", subject=row.subject, before=before, after=state(row))
    announce("escalations", row.environment)


def _end(this: Change, row: Escalation, *, by: str) -> None:
    before = state(row)
    _move(row, State.ENDED)
    row.ended_at, row.ended_by, row.acknowledged_until = clock.now(), by[:200], None
    row.save(update_fields=["state", "ended_at", "ended_by", "acknowledged_until"])
    _stop_steps(row)
    this.record("escalation.ended", subject=row.subject, before=before, after=state(row), reason=by)
    announce("escalations", row.environment)


# ---- people ----


def escalation_acknowledge(
    *, environment: str, pk: int, actor: Actor, reason: str = "", request_id: str = ""
) -> Escalation:  # fmt: skip
    """Take what is escalated: nobody else is told until the acknowledgement runs out. Raises NotFound, Conflict.

    Whatever it is about is acknowledged with it.
    """
    row = Escalation.objects.filter(environment=environment, pk=pk).exclude(kind=CHECK).first()
    if row is None:
        raise NotFound("There is no such escalation here.")
    if not row.is_open:
        raise Conflict("It is over.")
    # a change of its own: should the other fail, its entry acknowledges the escalation all the same
    for key in (row.key, *row.covers):
        thread = f"hawkops:{environment}:{key}"
        if acknowledging.acknowledger_of(thread) is None:
            continue
        try:
            acknowledging.acknowledge(
                environment=environment,
                thread=thread,
                actor=actor,
                through="page",
                reason=reason,
                request_id=request_id,
            )
        except (Conflict, NotFound):  # somebody has it already
            continue
    with change(actor=actor, environment=environment, reason=reason[:300], request_id=request_id) as this:
        row = Escalation.objects.select_for_update(no_key=True).get(pk=pk)
        if not row.is_open:
            raise Conflict("It is over.")
        _acknowledge(this, row, by=actor.label, reason=reason[:300])
    return row


# ---- what is due ----


def run_due() -> int:
    """Resume acknowledgements that ran out and tell the steps that are due; return how many were told."""
    now = clock.now()
    open_ = Escalation.objects.exclude(state=State.ENDED.value)
    due = open_.filter(state=State.RUNNING.value, steps__state=StepState.WAITING.value, steps__due_at__lte=now)
    out = open_.filter(state=State.ACKNOWLEDGED.value, acknowledged_until__lte=now)
    checks = open_.filter(kind=CHECK)
    found = sorted({pk for rows in (due, out, checks) for pk in rows.values_list("pk", flat=True)})
    told = 0
    for pk in found:
        try:
            told += _run(pk)
        except (HawkOpsError, DatabaseError, ValueError):
            # one bad row can't stop the rest; the auditor finds that it was not told
            log.exception("escalations.step_failed", extra={"escalation": pk})
    return told


def _run(pk: int) -> int:
    now = clock.now()
    with change(actor=RULE) as this:
        row = Escalation.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=pk).first()
        if row is None or not row.is_open:
            return 0
        this.environment, this.cause = row.environment, row.entry
        standing = _standing(row.environment, row.key)
        if standing is not None and standing.over:
            _end(this, row, by="it is over")
            return 0
        if row.state == State.ACKNOWLEDGED:
            if row.acknowledged_until is None or row.acknowledged_until > now:
                return 0
            _resume(this, row, why="the acknowledgement ran out")
        if row.kind == CHECK and _arrived(row):
            _end(this, row, by="it arrived")
            return 0
        due = list(row.steps.filter(state=StepState.WAITING.value, due_at__lte=now).order_by("number"))
        # of several that wait for the same people the last one tells them
        last = {one.target: one.number for one in due}
        for step in due:
            if step.number != last[step.target]:
                step.state, step.ran_at, step.late_at = StepState.STOPPED.value, now, now
                step.note = f"Nobody ran it in time; step {last[step.target]} tells the same people."
                step.save(update_fields=["state", "ran_at", "late_at", "note"])
        told = [step for step in due if step.number == last[step.target]]
        for step in told:
            _tell(this, row, step, now)
    return len(told)


def _arrived(row: Escalation) -> bool:
    return StepDelivery.objects.filter(step__escalation=row, delivery__state=DeliveryState.SENT.value).exists()


@dataclass(frozen=True)
class Reach:
    """How somebody is told: by whose channels, and what else they must know."""

    who: str
    channels: list[Channel]
    notes: tuple[str, ...] = ()
    person: User | None = None

    def kept_as(self, said: str) -> str:
        """Return words of it as the history keeps them: with what it calls the person."""
        return said if self.person is None else Named(self.person.pk, self.person.get_username()).renamed(said)


def _tell(this: Change, row: Escalation, step: EscalationStep, now: datetime) -> None:
    """Put a step's message into the outbox."""
    found = reach(row.environment, Target(step.target), domain.severity_of(row.severity), now)
    step.ran_at, step.who, step.note = now, found.who[:200], " ".join(found.notes)[:300]
    step.state = (StepState.TOLD if found.channels else StepState.UNREACHED).value
    if not found.channels or now > step.due_at + GRACE:
        step.late_at = step.late_at or now
    step.save(update_fields=["ran_at", "who", "note", "state", "late_at"])
    message = _message(row, step, found, now)
    for channel in found.channels:
        delivery = delivery_of(channel, message, topic=Topic.INCIDENTS.value)
        delivery.save()
        StepDelivery.objects.create(step=step, delivery=delivery)
        if message.action is Action.TEST and channel.kind == Kind.PAGERDUTY:  # nobody is to find it open there
            ending = Message(**{**message.__dict__, "action": Action.RESOLVE})
            delivery_of(channel, ending, topic=Topic.INCIDENTS.value).save()
    this.record(
        "escalation.step_told" if found.channels else "escalation.step_unreached",
        subject=row.subject,
        after={
            "title": row.title,
            "number": step.number,
            "target": step.target,
            "who": found.kept_as(step.who),
            "channels": [channel.kept_as for channel in found.channels],
            "due_at": step.due_at.isoformat(),
            "late": step.late_at is not None,
        },
        reason=found.kept_as(step.note),
    )
    announce("notifications", row.environment)
    announce("escalations", row.environment)


def _message(row: Escalation, step: EscalationStep, found: Reach, now: datetime) -> Message:
    base = f"{settings.CONSOLE_URL}/{row.environment}"
    is_check = row.kind == CHECK
    minutes = int((now - row.began_at).total_seconds() // 60)
    waited = f"Nobody has acknowledged it for {minutes} min." if minutes and not is_check else ""
    return Message(
        title=row.title if is_check else f"{found.who}: {row.title}"[:200],
        severity=domain.severity_of(row.severity),
        environment=row.environment,
        action=Action.TEST if is_check else Action.TRIGGER,
        thread=f"{row.thread}:{uuid4().hex}" if is_check else row.thread,
        verb="escalation.step_told",
        at=now,
        sentences=tuple(filter(None, (waited, step.says, *found.notes))),
        links=(
            Link("Acknowledge", f"{base}/escalations/{row.pk}"),
            Link("Emergency", f"{base}/emergency"),
            Link("On call", f"{base}/oncall"),
        ),
        simulated=row.simulated,
    )


def reach(environment: str, target: Target, severity: Severity, now: datetime) -> Reach:
    """Return how a step's target is told: by their own channels, else by the team's with their numbers."""
    if target is Target.TEAM:
        return Reach("the team", _team(environment, severity))
    contact = oncall.contact_of(target.value)
    person: User | None
    barred = None
    if target is Target.ON_CALL:
        person = oncall.on_call_now(environment, now=now).person
        missing = "Nobody is on call."
    else:
        person = contact.person if contact is not None else None
        missing = f"No person is entered as {target.label}."
        if person is not None and not oncall.able_to_read(person, environment):
            missing = f"{person.get_username()}, the {target.label}, may not enter {environment}."
            person, barred = None, person
    ways = contact.ways if contact is not None else []
    call = (
        f"Numbers of the {target.label}: {', '.join(ways)}." if ways else f"No number of the {target.label} is known."
    )
    if person is None:
        return Reach(target.label, _team(environment, severity), (missing, call), barred)
    who = f"{person.get_username()} ({target.label})"
    own = oncall.own_channels(environment, person)
    if own:
        return Reach(who, own, person=person)
    said = f"{person.get_username()} has no channel of their own, so the team is told."
    return Reach(who, _team(environment, severity), (said, call), person)


def _team(environment: str, severity: Severity) -> list[Channel]:
    """Return the team's channels: those for incidents, or for the rest when it is less grave; any before none."""
    rows = list(Channel.objects.filter(environment=environment, person=None, archived_at=None, paused=False))
    topic = Topic.INCIDENTS if severity is Severity.CRITICAL else Topic.ENGINEERING
    return [one for one in rows if topic in one.topics] or rows


# ---- the daily check ----


def checks_due() -> int:
    """Begin the daily check where somebody can be on call and business hours have begun; return how many began."""
    now, hours, begun = clock.now(), oncall.hours(), 0
    if not hours.is_open(now):
        return 0
    today = now.astimezone(zone_of(hours.zone)).date()
    for environment in Environment:
        if not Rotation.objects.filter(pk=environment.value).exists():
            continue
        newest = HistoryEntry.objects.filter(subject=_check(environment), verb=f"{CHECK}.started").order_by("-seq")
        last = newest.values_list("at", flat=True).first()
        if last is not None and last.astimezone(zone_of(hours.zone)).date() == today:
            continue
        check_start(environment=environment.value, actor=RULE)
        begun += 1
    return begun


def _check(environment: str) -> str:
    return f"{CHECK}:{environment}"


def check_start(*, environment: str, actor: Actor, request_id: str = "") -> None:
    """Send a page that is none the whole way of a real one: history, escalation, step, outbox, channel, receipt."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        after = {"title": "Daily check that a page arrives", "severity": Severity.INFO.value}
        this.record(f"{CHECK}.started", subject=_check(environment), after=after)
        announce("escalations", environment)
