"""Legal holds: while one stands, nothing of the person is erased; one person sets it, another one lifts it."""

from hawkops.accounts.models import LegalHold, User
from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.history.actors import Actor, person_reference
from hawkops.history.services import change

REASON_MOST = 300


def hold_of(user: User) -> LegalHold | None:
    """Return the hold that stands on a person; None without one. One query."""
    return LegalHold.objects.filter(subject=person_reference(user), lifted_at=None).first()


def hold_set(*, user: User, reason: str, actor: Actor, request_id: str = "") -> LegalHold:
    """Hold what is kept of somebody. Raises InvalidInput without a reason, Conflict where one stands."""
    reason = _reason(reason)
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if (standing := hold_of(locked)) is not None:
            raise Conflict(f"{standing.by} holds it already: {standing.reason}")
        made = LegalHold.objects.create(
            subject=person_reference(locked), reason=reason, by=actor.label, reference=actor.reference, at=clock.now()
        )
        this.record("hold.set", subject=made.subject, after={"hold": made.pk})
    return made


def hold_lift(*, user: User, reason: str, actor: Actor, request_id: str = "") -> LegalHold:
    """Lift the hold on somebody. Raises NotFound without one, NotAllowed for whoever set it."""
    with change(actor=actor, reason=_reason(reason), request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        found = hold_of(locked)
        if found is None:
            raise NotFound(f"Nothing holds what is kept of {locked.username}.")
        if found.reference == actor.reference:
            raise NotAllowed("You set this hold, so another administrator must lift it.")
        found.lifted_by, found.lifted_reference, found.lifted_at = actor.label, actor.reference, clock.now()
        found.save(update_fields=["lifted_by", "lifted_reference", "lifted_at"])
        this.record("hold.lifted", subject=found.subject, before={"hold": found.pk, "set_by": found.reference})
    return found


def _reason(text: str) -> str:
    reason = " ".join(text.replace("\x00", "").split())[:REASON_MOST]
    if not reason:
        raise InvalidInput("Say why: the case and its number, without the person's name.")
    return reason
