"""Pressing a solution, taking it back, and looking afterwards whether it helped.

The symptoms are read before the press; each press is the one entry of what it changes, and its row is kept with it. A
sweeper looks again after ten and thirty minutes: rows say when, so that nothing is lost or measured twice.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q

from hawkops.core import clock
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput
from hawkops.core.live import announce
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from hawkops.scripts.models import Run
from hawkops.scripts.own import script
from hawkops.scripts.services import run_request
from incidents.domain import troubleshooting as domain
from incidents.domain.troubleshooting import Measured, Problem, Solution, SolutionKind, constraint_of, measured_of
from incidents.models import Incident, Remedy
from incidents.selectors import troubleshooting as selectors
from incidents.selectors.solutions import command_number, rehearsal
from rollout.domain import targeting
from rollout.selectors import census
from rollout.selectors import flags as flag_selectors
from rollout.selectors.proposals import Fate, fate
from rollout.services import forcing
from rollout.services.locking import flags_locked
from rollout.services.proposals import change_or_propose

log = logging.getLogger(__name__)
RULE = Actor.rule("troubleshooting")
DUE_MOST = 50
# what is looked at later than this is not measured: something else may be the cause by then
LATE = timedelta(hours=2)


@dataclass(frozen=True)
class Pressed:
    """What a press did: the remedy that is kept (None: it was so already), with a proposal, or a dry run alone."""

    remedy: Remedy | None = None
    proposal: int | None = None
    run: Run | None = None


# ---- pressing ----


def remedy_press(
    *,
    environment: str,
    problem: Problem,
    solution: Solution,
    actor: Actor,
    bound: str = "",
    words: str = "",
    request_id: str = "",
) -> Pressed:
    """Press a solution. Never refused for its reason: that is the problem and the solution, and whatever was typed.

    `bound` is the value of an override for some devices. Raises what the change raises.
    """
    reason = ": ".join(one for one in (solution.reason or problem.title, words.strip() or solution.title) if one)[:300]
    if solution.kind is SolutionKind.SCRIPT:
        return _run(environment, problem, solution, actor, reason, request_id)
    before = _read(environment, problem)
    if solution.kind is SolutionKind.SCOPED:
        if not (bound := bound.strip() or solution.bound):
            raise InvalidInput("Say below which version: the live data propose none.")
        constraint = constraint_of(solution, bound)
        meets, on = census.meeting(environment, [constraint], served=solution.flag)
        reach = on if solution.variant == "off" else meets - on
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        _, flags = flags_locked(environment, [solution.flag])
        flag = flags[solution.flag]
        stood = forcing.restorable(flag)
        kind, payload = "flag.value_force", {"key": solution.flag, "value": solution.value}
        undo: dict[str, Any] = {"kind": "flag.value_restore", "payload": {"key": solution.flag, "before": stood}}
        title = solution.title
        if solution.kind is SolutionKind.COMMAND:
            payload["value"] = command_number(flag)
            # only called off: a device that has seen the number is done with it
            undo = {"kind": "flag.override_clear", "payload": {"key": solution.flag}}
        elif solution.kind is SolutionKind.SCOPED:
            where = targeting.constraints_document((constraint,))
            kind, payload = (
                "flag.scoped_override",
                {"key": solution.flag, "variant": solution.variant, "constraints": where},
            )
            undo = {"kind": "flag.scoped_override_clear", "where": where, "payload": {"key": solution.flag}}
            title = f"{solution.title}: {constraint}"
        if solution.kind is not SolutionKind.SCOPED:
            reach = census.active_count(environment)
        made = change_or_propose(
            kind=kind, environment=environment, payload=payload, actor=actor, reason=reason, request_id=request_id
        )
        # within this change an entry is appended at its end only
        proposed = None if made is None or isinstance(made, HistoryEntry) else made.pk
        if proposed is None and not this.drafts:
            return Pressed()
        now = clock.now()
        remedy = Remedy.objects.create(
            environment=environment,
            problem=problem.key,
            problem_title=problem.title,
            solution=solution.key,
            title=title[:200],
            kind=solution.kind.value,
            flag=solution.flag,
            undo=undo,
            pressed_by=actor.label,
            pressed_at=now,
            applied_at=None if proposed else now,
            revision=None if proposed else flag_selectors.revision(environment),
            proposal=proposed,
            incident=_incident(environment),
            reach=reach,
            before=[one.document() for one in before],
            # of what is proposed: when to see whether somebody said yes
            look_at=now + (timedelta(minutes=1) if proposed else domain.LOOKS[0]),
        )
        announce("troubleshooting", environment)
    if not proposed and this.entry is not None:
        remedy.entry = this.entry.seq
        Remedy.objects.filter(pk=remedy.pk).update(entry=this.entry.seq)
    return Pressed(remedy, proposed)


def _run(environment: str, problem: Problem, solution: Solution, actor: Actor, reason: str, request_id: str) -> Pressed:
    """Run a script, or its dry run where that has not passed within the hour: it then allows the real one."""
    entry, arguments = script(solution.script), dict(solution.arguments)
    dry = entry.changes_anything and rehearsal(environment, entry, arguments) is None
    before = [] if dry else _read(environment, problem)
    run = run_request(
        environment=environment,
        name=solution.script,
        arguments=arguments,
        actor=actor,
        dry_run=dry,
        request_id=request_id,
    )
    if dry:
        return Pressed(run=run)
    now = clock.now()
    remedy = Remedy.objects.create(
        environment=environment,
        problem=problem.key,
        problem_title=problem.title,
        solution=solution.key,
        title=solution.title,
        kind=solution.kind.value,
        pressed_by=actor.label,
        pressed_at=now,
        applied_at=now,
        entry=run.request_entry,
        run=run.pk,
        incident=_incident(environment),
        before=[one.document() for one in before],
        look_at=now + domain.LOOKS[0],
    )
    return Pressed(remedy, run=run)


def _read(environment: str, problem: Problem) -> list[Measured]:
    """Read the symptoms over the span that is compared; nothing where that fails, for it holds up no press."""
    try:
        with transaction.atomic():
            return selectors.measured(environment, [problem], window=domain.WINDOW)[problem.key]
    except DatabaseError:
        log.exception("troubleshooting.not_read", extra={"problem": problem.key})
        return []


def _incident(environment: str) -> int | None:
    rows = Incident.objects.filter(environment=environment, resolved_at=None)
    return rows.order_by("-opened_at").values_list("pk", flat=True).first()


# ---- taking it back ----


def remedy_undo(*, remedy: Remedy, actor: Actor, reason: str = "", request_id: str = "") -> int | None:
    """Put back what stood before a press; the number of the proposal where somebody else must say yes first.

    Raises Conflict when it was undone, was never applied, or something else was changed on top of it.
    """
    environment, flag = remedy.environment, remedy.flag
    if not remedy.undo:
        raise Conflict(f"{remedy.title} can't be undone here: look at its run.")
    reason = reason.strip()[:200] or f"Undo: {remedy.title}"[:300]
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        _, flags = flags_locked(environment, [flag])
        locked = Remedy.objects.select_for_update(no_key=True).get(pk=remedy.pk)
        if locked.undone_at is not None:
            raise Conflict(f"{remedy.title} was undone already, by {locked.undone_by}.")
        if locked.applied_at is None:
            raise Conflict(f"{remedy.title} is only proposed; withdraw the proposal.")
        payload = dict(locked.undo["payload"])
        if locked.kind == SolutionKind.SCOPED:
            numbers = [
                one["number"] for one in flags[flag].scoped_overrides if one["constraints"] == locked.undo["where"]
            ]
            payload["number"] = numbers[0] if numbers else 0
        elif flags[flag].override_revision != locked.revision:
            raise Conflict(
                f"{flag} was changed after this press, at revision {flags[flag].revision}:"
                " undoing it would take that back too. Change it on the flag's page."
            )
        made = change_or_propose(
            kind=locked.undo["kind"],
            environment=environment,
            payload=payload,
            actor=actor,
            reason=reason,
            request_id=request_id,
        )
        if made is not None and not isinstance(made, HistoryEntry):
            locked.undo_proposal = made.pk
            locked.save(update_fields=["undo_proposal"])
            return made.pk
        locked.undone_at, locked.undone_by, locked.look_at = clock.now(), actor.label, None
        locked.save(update_fields=["undone_at", "undone_by", "look_at"])
        announce("troubleshooting", environment)
    if this.entry is not None:
        Remedy.objects.filter(pk=remedy.pk).update(undone_entry=this.entry.seq)
    return None


# ---- looking again ----


def remedies_due() -> int:
    """Look again at what was pressed ten and thirty minutes ago, and settle what was proposed; return how many.

    Running twice or late does no harm: each look moves its row on by compare-and-set.
    """
    done = 0
    for remedy in Remedy.objects.filter(look_at__lte=clock.now()).order_by("look_at")[:DUE_MOST]:
        try:
            done += _settled(remedy) if remedy.applied_at is None else _measured(remedy)
        except (HawkOpsError, DatabaseError):  # the others are looked at all the same, and this one again
            log.exception("troubleshooting.not_measured", extra={"remedy": remedy.pk})
    for remedy in Remedy.objects.filter(~Q(undo_proposal=None), undone_at=None)[:DUE_MOST]:
        _undone_settle(remedy)
    return done


def _measured(remedy: Remedy) -> bool:
    assert remedy.applied_at is not None
    at = remedy.applied_at + domain.LOOKS[remedy.looked]
    problem, _ = selectors.problem(remedy.environment, remedy.problem)
    late = clock.now() - at > LATE
    after = [] if late else selectors.measured(remedy.environment, [problem], window=domain.WINDOW)[problem.key]
    before = [measured_of(one) for one in remedy.before]
    obeying, active = None, 0
    if remedy.revision is not None:
        counts = census.census(remedy.environment, remedy.revision)
        obeying, active = counts.obeyed, counts.active
    minutes = round((clock.now() - remedy.applied_at).total_seconds() / 60)
    found = domain.outcome(before, after, obeying=obeying, active=active, minutes=minutes)
    if late:
        sentence = f"Nobody looked within {LATE.total_seconds() / 3600:g} h of the time, so it says nothing."
        found = domain.Outcome(domain.Helped.NO_DATA, sentence)
    looked = remedy.looked + 1
    next_at = remedy.applied_at + domain.LOOKS[looked] if looked < len(domain.LOOKS) else None
    look = {
        "at": clock.now().isoformat(),
        "minutes": minutes,
        "helped": found.helped.value,
        "sentence": found.sentence,
        "obeying": obeying,
        "active": active,
        "symptoms": [one.document() for one in after],
    }
    with change(actor=RULE, environment=remedy.environment, cause=remedy.entry) as this:
        moved = Remedy.objects.filter(pk=remedy.pk, looked=remedy.looked, undone_at=None).update(
            looked=looked, look_at=next_at, looks=[*remedy.looks, look], helped=found.helped.value,
            sentence=found.sentence,
        )  # fmt: skip
        if not moved:
            return False
        this.record(
            "remedy.measured",
            subject=remedy.subject,
            after={
                "title": f"{remedy.problem_title}: {remedy.title}",
                "problem": remedy.problem,
                "helped": found.helped.value,
                "sentence": found.sentence,
            },
        )
        announce("troubleshooting", remedy.environment)
    return True


def _settled(remedy: Remedy) -> bool:
    """See whether somebody said yes to what was proposed; its symptoms before are those of that moment."""
    proposal = fate(remedy.proposal)
    if proposal.state == "open":
        Remedy.objects.filter(pk=remedy.pk).update(look_at=clock.now() + timedelta(minutes=1))
        return False
    if proposal.state != "applied" or proposal.ended_at is None:
        Remedy.objects.filter(pk=remedy.pk, applied_at=None).delete()
        return True
    entry = _entry_of(remedy, proposal)
    problem, _ = selectors.problem(remedy.environment, remedy.problem)
    at = proposal.ended_at
    before = selectors.measured(remedy.environment, [problem], now=at, window=domain.WINDOW)[problem.key]
    state: Mapping[str, Any] = entry.after if entry is not None and isinstance(entry.after, dict) else {}
    moved = Remedy.objects.filter(pk=remedy.pk, applied_at=None).update(
        applied_at=at,
        entry=entry.seq if entry is not None else None,
        revision=state.get("revision"),
        before=[one.document() for one in before],
        look_at=at + domain.LOOKS[0],
    )
    return bool(moved)


def _entry_of(remedy: Remedy, proposal: Fate) -> HistoryEntry | None:
    """Return the entry of the change that a proposal carried out: appended in one go with its own."""
    own = history.entries(environment=remedy.environment, verbs=("proposal.applied",))
    applied = own.filter(subject=f"proposal:{proposal.pk}").first()
    if applied is None:
        return None
    rows = history.entries(environment=remedy.environment).filter(subject=f"flag:{remedy.flag}", seq__lt=applied.seq)
    return rows.order_by("-seq").first()


def _undone_settle(remedy: Remedy) -> None:
    proposal = fate(remedy.undo_proposal)
    if proposal.state == "open":
        return
    if proposal.state == "applied":
        Remedy.objects.filter(pk=remedy.pk, undone_at=None).update(
            undone_at=proposal.ended_at, undone_by=proposal.ended_by, look_at=None
        )
        return
    Remedy.objects.filter(pk=remedy.pk).update(undo_proposal=None)
