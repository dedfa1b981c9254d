"""Security lockdown: one press stops LiteRT and freezes every raise; two people lift the freeze, and only the freeze.

The environment's flags are locked first, as by every raise: one that came before is done, one that comes after is refused.
"""

from django.conf import settings
from django.db import transaction

from hawkops.accounts.models import ApiToken
from hawkops.core import clock
from hawkops.core.errors import Conflict, NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.entries.shared import SEVERITIES
from rollout.models import Lockdown
from rollout.selectors import lockdown as selectors
from rollout.services.locking import environment_locked
from rollout.services.overrides import kill
from rollout.services.raising import must_be_recent_in

HIGH = "high"
# the runbook's words
DETECTED = "Security incident detected"
NO_REASON, TAKEN_BACK = "No reason given", "Taken back"
REASON_MOST = 300


def lockdown_begin(
    *,
    environment: str,
    actor: Actor,
    reason: str = "",
    severity: str = "",
    request_id: str = "",
    cause: int | None = None,
) -> tuple[Lockdown, bool]:
    """Put an environment into lockdown: LiteRT off, cloud fallback on, and nothing is raised any more.

    The second value is False where one stands already, which is returned as it is. Never refused for its reason or its
    severity: what is missing becomes the runbook's, what is no severity is high.
    """
    reason = reason.replace("\x00", "").strip()[:REASON_MOST] or DETECTED
    grave = severity if severity in SEVERITIES else HIGH
    with transaction.atomic():
        with change(actor=actor, environment=environment, reason=reason, request_id=request_id, cause=cause) as this:
            environment_locked(environment)
            if (standing := selectors.standing(environment)) is not None:
                return standing, False
            made = Lockdown.objects.create(
                environment=environment,
                severity=grave,
                reason=reason,
                by=actor.label,
                reference=actor.reference,
                at=clock.now(),
            )
            this.record("lockdown.started", subject=made.subject, after=made.document())
            # these words are never a drill's, so that what a drill has forced is taken over
            kill(environment=environment, actor=actor, reason=f"Lockdown: {reason}")
        made.entry = this.entry.seq if this.entry else None
        made.save(update_fields=["entry"])
    return made, True


def lockdown_lift_ask(*, environment: str, actor: Actor, reason: str = "", request_id: str = "") -> Lockdown:
    """Ask that somebody else lifts it. Raises NotFound without one, Conflict where somebody asks already."""
    reason = reason.replace("\x00", "").strip()[:REASON_MOST] or NO_REASON
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        found = _locked(environment)
        if found.asked_at is not None:
            raise Conflict(f"{found.asked_by} asks already to lift it; an approver who is somebody else confirms.")
        before = found.document()
        found.asked_by, found.asked_reference = actor.label, actor.reference
        found.asked_at, found.asked_reason = clock.now(), reason
        found.save()
        this.record("lockdown.lift_asked", subject=found.subject, before=before, after=found.document())
    return found


def lockdown_lift_withdraw(*, environment: str, actor: Actor, reason: str = "", request_id: str = "") -> Lockdown:
    """Take back that somebody asks to lift it, or turn it down. Raises NotFound or Conflict."""
    reason = reason.replace("\x00", "").strip()[:REASON_MOST] or TAKEN_BACK
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        found = _locked(environment)
        if found.asked_at is None:
            raise Conflict("Nobody asks to lift it.")
        before = found.document()
        found.asked_by = found.asked_reference = found.asked_reason = ""
        found.asked_at = None
        found.save()
        this.record("lockdown.lift_withdrawn", subject=found.subject, before=before, after=found.document())
    return found


def lockdown_lift(*, environment: str, actor: Actor, asked_at: str = "", request_id: str = "") -> Lockdown:
    """Confirm what somebody else asked: raises are no longer frozen, LiteRT stays off until it is re-enabled.

    `asked_at` is the asking that was read, where a form says it. Raises NotFound, Conflict where nobody asks or somebody
    asked anew meanwhile, NotAllowed for whoever asked, whatever his role.
    """
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = _locked(environment)
        if found.asked_at is None:
            raise Conflict("Nobody asks to lift the lockdown. One person asks with a reason, another one confirms.")
        if asked_at and asked_at != found.asked_at.isoformat():
            raise Conflict(f"{found.asked_by} asked anew meanwhile. Look again: nothing is lifted.")
        if actor.reference in _askers(found) and not settings.ONE_PERSON_INSTALLATION:
            raise NotAllowed("You asked to lift this lockdown, so an approver who is somebody else must confirm.")
        must_be_recent_in(environment)
        before = found.document()
        found.lifted_by, found.lifted_reference, found.lifted_at = actor.label, actor.reference, clock.now()
        found.save()
        this.record(
            "lockdown.lifted", subject=found.subject, before=before, after=found.document(), reason=found.asked_reason
        )
    return found


def _askers(found: Lockdown) -> set[str]:
    """Return who counts as having asked: of a token also the person who made it."""
    noun, _, number = found.asked_reference.partition(":")
    makers = ApiToken.objects.filter(pk=number) if noun == "token" else ApiToken.objects.none()
    return {found.asked_reference, *(f"person:{one.created_by_id}" for one in makers if one.created_by_id)}


def _locked(environment: str) -> Lockdown:
    """Return the lockdown that stands, with the flags locked first as everywhere. Raises NotFound."""
    environment_locked(environment)
    found = Lockdown.objects.select_for_update(no_key=True).filter(environment=environment, lifted_at=None).first()
    if found is None:
        raise NotFound(f"No lockdown stands in {environment}.")
    return found
