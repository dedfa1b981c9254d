"""Changes that wait for somebody else's yes: made, edited, approved, carried out, withdrawn.

A yes is kept in a transaction of its own before the change is tried, so that it is never lost; the change names it as its
cause. An edit lets every yes fall.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput, NotAllowed
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain.policy import Decision
from rollout.models import Approval, Proposal
from rollout.selectors import policy, releases
from rollout.services.groups import digest
from rollout.services.kinds import KINDS, Act, Kind
from rollout.services.locking import reason_given
from rollout.services.raising import Authority, NeedsApproval, must_be_recent_in

SCHEDULE_MOST = timedelta(days=90)
SCHEDULER = Actor.rule("schedule")


def change_or_propose(
    *, kind: str, environment: str, payload: Mapping[str, Any], actor: Actor, reason: str, request_id: str = ""
) -> HistoryEntry | Proposal | None:
    """Make a change at once where nobody else need look, else propose it. None when it already is so.

    Raises what the change raises, Refused above all, when more than somebody's yes is missing.
    """
    found = _kind(kind)
    try:
        act = Act(environment, actor, reason_given(reason), Authority.of(actor), request_id)
        return found.carry_out(act, payload)
    except NeedsApproval:
        return proposal_make(
            kind=kind, environment=environment, payload=payload, actor=actor, reason=reason, request_id=request_id
        )


def proposal_make(
    *,
    kind: str,
    environment: str,
    payload: Mapping[str, Any],
    actor: Actor,
    reason: str,
    scheduled_at: datetime | None = None,
    request_id: str = "",
) -> Proposal:
    """Propose a change. Raises InvalidInput for what could never be carried out."""
    found = _kind(kind)
    payload = found.checked(payload)
    title = found.title(environment, payload)
    shown = found.shown(environment, payload)
    _schedule_checked(scheduled_at)
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        same = Proposal.objects.filter(environment=environment, kind=kind, payload=dict(payload), state="open").first()
        if same is not None:
            raise Conflict(f"This is proposed already, by {same.made_by}: proposal {same.pk}.")
        made = Proposal.objects.create(
            environment=environment,
            kind=kind,
            subject=found.subject(environment, payload)[:120],
            title=title[:200],
            payload=dict(payload),
            changes=shown,
            reason=reason_given(reason),
            made_by=actor.label,
            makers=[actor.reference],
            made_at=clock.now(),
            scheduled_at=scheduled_at,
        )
        this.record("proposal.made", subject=f"proposal:{made.pk}", after=_state(made))
    return made


def proposal_edit(
    *,
    proposal: Proposal,
    edition: int,
    actor: Actor,
    reason: str,
    scheduled_at: datetime | None,
    payload: Mapping[str, Any] | None = None,
    request_id: str = "",
) -> Proposal:
    """Change what is proposed, why, or when. Who edits it made it too, and every yes so far falls."""
    _schedule_checked(scheduled_at)
    reason = reason_given(reason)
    with change(actor=actor, environment=proposal.environment, reason=reason, request_id=request_id) as this:
        locked = _open(proposal)
        if locked.edition != edition:
            raise Conflict("Somebody edited this proposal meanwhile. Look again: nothing is saved.")
        before = _state(locked)
        if payload is not None:
            locked.payload = _kind(locked.kind).checked(payload)
            locked.title = _kind(locked.kind).title(locked.environment, payload)[:200]
            locked.changes = _kind(locked.kind).shown(locked.environment, payload)
        locked.reason, locked.scheduled_at, locked.refusal = reason, scheduled_at, ""
        if _state(locked) == before:
            return locked
        locked.edition += 1
        locked.edited_at = clock.now()
        locked.makers = sorted({*locked.makers, actor.reference})
        locked.save()
        fell = locked.approvals.filter(fell_at=None).update(fell_at=clock.now())
        this.record(
            "proposal.edited", subject=f"proposal:{locked.pk}", before=before, after={**_state(locked), "fell": fell}
        )
    return locked


def proposal_approve(
    *, proposal: Proposal, edition: int, teams: Iterable[Team], actor: Actor, request_id: str = ""
) -> Proposal:
    """Say yes to what stands in front of one. Carries the change out at once when nothing is missing any more.

    Raises NotAllowed for who made or edited it, whatever his role; Conflict when it was edited after `edition` was read.
    """
    with change(actor=actor, environment=proposal.environment, reason=proposal.reason, request_id=request_id) as this:
        locked = _open(proposal)
        if locked.edition != edition:
            raise Conflict("This proposal was edited after you looked at it. Read it again before you say yes.")
        if actor.reference in locked.makers:
            raise NotAllowed("You made or edited this change, so somebody else must say yes to it.")
        if locked.approvals.filter(reference=actor.reference, edition=edition, fell_at=None).exists():
            raise Conflict("You said yes to this already.")
        must_be_recent_in(locked.environment)
        decision = decision_of(locked)
        seen = {
            "needs": {need.key: need.sentence for need in decision.needs if not need.met},
            "evidence": policy.frozen_evidence(releases.release_running(locked.environment)),
            **_kind(locked.kind).seen(locked.environment, locked.payload),
        }
        given = sorted(team.value for team in teams)
        Approval.objects.create(
            proposal=locked,
            reference=actor.reference,
            by=actor.label,
            teams=given,
            edition=edition,
            at=clock.now(),
            seen=seen,
        )
        this.record(
            "proposal.approved",
            subject=f"proposal:{locked.pk}",
            after={"teams": given, "edition": edition, **seen, "needs": _by_reference(locked, seen["needs"])},
        )
    cause = this.entries[-1].seq
    if locked.scheduled_at is None and decision_of(locked).allowed:
        return proposal_apply(proposal=locked, actor=actor, cause=cause, request_id=request_id)
    return locked


def _by_reference(proposal: Proposal, needs: Mapping[str, str]) -> dict[str, str]:
    """Return what was missing with approvers as the history calls them."""
    said = dict(needs)
    for one in policy.approvers(proposal):
        # as the policy words it: a name may be a word of the rest
        by_whom = re.compile(rf"(?<!\w){re.escape(one.label)}(?= for (?:{'|'.join(Team)})\b)")
        said = {key: by_whom.sub(one.reference, text) for key, text in said.items()}
    return said


def proposal_apply(*, proposal: Proposal, actor: Actor, cause: int | None = None, request_id: str = "") -> Proposal:
    """Carry an approved change out, in its makers' name. Every line of the policy is looked at again.

    What refuses it is kept on the proposal and raised.
    """
    locked = proposal
    try:
        with change(
            actor=actor, environment=proposal.environment, reason=proposal.reason, cause=cause, request_id=request_id
        ) as this:
            locked = _open(proposal)
            act = Act(
                locked.environment,
                Actor(locked.makers[0], locked.made_by),
                locked.reason,
                authority_of(locked),
                request_id,
                locked,
            )
            _kind(locked.kind).carry_out(act, locked.payload)
            locked.state, locked.ended_at, locked.ended_by, locked.refusal = "applied", clock.now(), actor.label, ""
            locked.save()
            this.record(
                "proposal.applied",
                subject=f"proposal:{locked.pk}",
                before={"state": "open"},
                after={"state": "applied", "approved_by": [one.reference for one in act.authority.approvers]},
            )
    except HawkOpsError as refusal:
        _refused(proposal, refusal.message, actor)
        raise
    return locked


def proposals_due() -> int:
    """Carry out what is scheduled for now; return how many. One that is refused stays and says why."""
    done = 0
    for one in Proposal.objects.filter(state="open", scheduled_at__lte=clock.now()):
        try:
            proposal_apply(proposal=one, actor=SCHEDULER)
        except HawkOpsError:
            continue
        done += 1
    return done


def proposal_withdraw(*, proposal: Proposal, actor: Actor, reason: str, request_id: str = "") -> Proposal:
    """Take a proposal back, or turn it down."""
    reason = reason_given(reason)
    with change(actor=actor, environment=proposal.environment, reason=reason, request_id=request_id) as this:
        locked = _open(proposal)
        locked.state, locked.ended_at, locked.ended_by = "withdrawn", clock.now(), actor.label
        locked.save()
        this.record(
            "proposal.withdrawn",
            subject=f"proposal:{locked.pk}",
            before={"state": "open"},
            after={"state": "withdrawn"},
        )
    return locked


def authority_of(proposal: Proposal) -> Authority:
    """Return by what right a proposal may be carried out: its makers and everybody's yes to this edition."""
    return Authority(frozenset(proposal.makers), policy.approvers(proposal))


def decision_of(proposal: Proposal) -> Decision:
    """Return every line that a proposal needs, as it stands now."""
    return _kind(proposal.kind).decision(proposal.environment, proposal.payload, authority_of(proposal))


def _kind(name: str) -> Kind:
    found = KINDS.get(name)
    if found is None:
        raise InvalidInput(f"Nothing of the kind {name!r} can be proposed; use one of {', '.join(sorted(KINDS))}.")
    return found


def _open(proposal: Proposal) -> Proposal:
    locked = Proposal.objects.select_for_update(no_key=True).get(pk=proposal.pk)
    if locked.state != "open":
        raise Conflict(f"This proposal was {locked.state} by {locked.ended_by} already.")
    return locked


def _refused(proposal: Proposal, why: str, actor: Actor) -> None:
    with change(actor=actor, environment=proposal.environment) as this:
        locked = Proposal.objects.select_for_update(no_key=True).get(pk=proposal.pk)
        if locked.state != "open" or locked.refusal == why:
            return
        locked.refusal = why
        locked.save(update_fields=["refusal"])
        this.record("proposal.held", subject=f"proposal:{locked.pk}", after={"why": why})


def _schedule_checked(at: datetime | None) -> None:
    if at is None:
        return
    now = clock.now()
    if not now < at <= now + SCHEDULE_MOST:
        raise InvalidInput(f"A change is scheduled for a time to come, within {SCHEDULE_MOST.days} days.")


def _without_devices(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload as the history may keep it: how many devices and their digest, not who."""
    found = dict(payload)
    if "members" in found:
        found["members"] = {"count": len(found["members"]), "digest": digest(found["members"])}
    if "pinned" in found:
        found["pinned"] = len(found["pinned"])
    return found


def _state(proposal: Proposal) -> dict[str, Any]:
    return {
        "kind": proposal.kind,
        "title": proposal.title,
        "payload": _without_devices(proposal.payload),
        "reason": proposal.reason,
        "scheduled_at": proposal.scheduled_at,
        "subject": proposal.subject,
    }
