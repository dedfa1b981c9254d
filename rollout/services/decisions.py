"""Deciding after a phase: a go is kept when the next phase starts, a no-go when an approver says so. All of it for good."""

from __future__ import annotations

import json
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.models import HistoryEntry
from hawkops.history.services import Change, change
from rollout.domain import bundle
from rollout.domain.decision import Decided, Recommendation
from rollout.models import PhaseDecision, Proposal, Release
from rollout.selectors import decision as selectors
from rollout.selectors import flags, policy
from rollout.selectors.code import code
from rollout.services.locking import reason_given

DISAGREES_MOST = 500
AGREES = {
    Decided.GO: Recommendation.PROCEED,
    Decided.HOLD: Recommendation.HOLD,
    Decided.ROLL_BACK: Recommendation.ROLL_BACK,
}


def disagreement_checked(text: str) -> str:
    """Return a reason to go on against the recommendation. Raises InvalidInput for one that is too long."""
    if len(text) > DISAGREES_MOST:
        raise InvalidInput(f"Say in {DISAGREES_MOST} characters why you disagree.")
    return text.strip()


def decision_seen(release: Release) -> dict[str, Any]:
    """Return what somebody who says yes to going on has in front of him: the recommendation and every line."""
    run = selectors.run_under_way(release)
    found = selectors.state(release, run) if run is not None else None
    if found is None:
        return {}
    return {
        "recommended": found.recommended.recommendation.value,
        "reasons": [one.sentence for one in found.recommended.against],
        "lines": [bundle.line(one) for one in found.shown],
    }


def decision_go(
    *,
    found: selectors.State,
    disagrees: str,
    actor: Actor,
    reason: str,
    this: Change,
    proposal: Proposal | None = None,
) -> PhaseDecision:
    """Keep that a phase is followed by the next one, or by the end, in the change that does it."""
    agrees = found.recommended.recommendation is Recommendation.PROCEED
    said = "" if agrees else disagreement_checked(disagrees)
    return _kept(found, Decided.GO, said, actor, reason, this, proposal)


def decision_no_go(
    *, release: Release, decided: Decided, actor: Actor, reason: str, request_id: str = ""
) -> PhaseDecision:
    """Keep that an approver holds the release after a phase, or wants it rolled back. Nothing is moved by it.

    Raises Conflict when no phase is under way.
    """
    if decided is Decided.GO:
        raise InvalidInput("A go is the start of the next phase; here a no-go is kept.")
    reason = reason_given(reason)
    with change(actor=actor, environment=release.environment, reason=reason, request_id=request_id) as this:
        locked = Release.objects.select_for_update(no_key=True, of=("self",)).select_related("runbook")
        release = locked.get(pk=release.pk)
        run = selectors.run_under_way(release)
        if run is None:
            raise Conflict("No phase is under way, so there is nothing to decide.")
        found = selectors.state(release, run)
        if found is None:
            raise NotFound("No go/no-go criterion is stored, so nothing is recommended.")
        disagrees = "" if AGREES[decided] is found.recommended.recommendation else reason
        return _kept(found, decided, disagrees, actor, reason, this, None)


def _kept(
    found: selectors.State,
    decided: Decided,
    disagrees: str,
    actor: Actor,
    reason: str,
    this: Change,
    proposal: Proposal | None,
) -> PhaseDecision:
    release, run = found.release, found.run
    at = clock.now()
    recommendation = found.recommended.recommendation.value
    made = bundle.document(
        found.facts,
        found.measured,
        subject={
            "environment": release.environment,
            "release": release.pk,
            "name": release.name,
            "app_version": release.app_version,
            "version_code": release.version_code,
            "model_name": release.model_name,
            "model_digest": release.model_digest,
            "backends": list(release.backends),
            "runbook": release.runbook.version,
            "phase": run.number,
            "percent": run.percent,
            "simulated": any(one.simulated for one in found.measured),
        },
        flags={
            "revision": flags.revision(release.environment),
            "flags": {one.key: one.state() for one in flags.flags(release.environment)},
        },
        code=code(),
        evidence=policy.frozen_evidence(release),
        decision={
            "decided": decided.value,
            "recommendation": recommendation,
            "disagrees": disagrees,
            "reason": reason,
            "by": actor.label,
            "reference": actor.reference,
            "at": at,
            "proposal": proposal.pk if proposal is not None else None,
        },
        signatures=_signatures(proposal),
    )
    text = chain.canonical(made)
    kept = PhaseDecision.objects.create(
        release=release,
        run=run,
        number=run.number,
        recommendation=recommendation,
        decided=decided.value,
        disagrees=disagrees,
        reason=reason,
        by=actor.label,
        reference=actor.reference,
        at=at,
        proposal=proposal,
        bundle_text=text,
        digest=bundle.whole(json.loads(text)),
    )
    this.record(
        bundle.MADE,
        subject=f"decision:{release.pk}:{kept.pk}",
        after={
            "release": release.pk,
            "phase": run.number,
            "decided": decided.value,
            "recommendation": recommendation,
            "disagrees": disagrees,
            "digest": kept.digest,
        },
    )
    return kept


def _signatures(proposal: Proposal | None) -> list[dict[str, Any]]:
    """Return everybody's yes that stands, each with its entry of the history and with what was recommended then."""
    if proposal is None:
        return []
    subject = f"proposal:{proposal.pk}"
    entries = HistoryEntry.objects.filter(verb=bundle.APPROVED, subject=subject).order_by("seq")
    by_edition = {(entry.actor, (entry.after or {}).get("edition")): entry.seq for entry in entries}
    return [
        {
            "by": one.by,
            "reference": one.reference,
            "teams": one.teams,
            "edition": one.edition,
            "at": one.at,
            "saw": one.seen.get("recommended"),
            "entry": by_edition.get((one.reference, one.edition)),
        }
        for one in proposal.approvals.filter(edition=proposal.edition, fell_at=None)
    ]
