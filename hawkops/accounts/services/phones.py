"""Enrolled phones: a secret in a browser that lets its person kill when the session has expired, for 30 days."""

import secrets
from datetime import timedelta

from hawkops.accounts.models import EnrolledPhone, User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.access import Role, can
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.history.actors import Actor, person_reference
from hawkops.history.services import change

LIFETIME = timedelta(days=30)
# what its person must hold when it is used, as for the same press in a session
MAY_USE = (Role.OPERATOR,)
NAME_MOST = 40
PHONES_MOST = 10


def phone_enrol(
    *, user: User, environment: str, name: str, actor: Actor, replaces: str = "", request_id: str = ""
) -> tuple[EnrolledPhone, str]:
    """Enrol a browser of somebody who may kill there; the second value is its secret, for the cookie alone.

    `replaces` is the secret that the browser holds already: it is revoked. Raises InvalidInput, NotAllowed, Conflict.
    """
    environment = Environment(environment).value
    name = " ".join(name.replace("\x00", "").split()) or "Phone"
    if len(name) > NAME_MOST or not name.isprintable():
        raise InvalidInput(f"A phone has a name of at most {NAME_MOST} characters.")
    if not can(user, environment, *MAY_USE):
        raise NotAllowed(f"Only who may kill in {environment} can enrol a phone for it: that needs the role operator.")
    secret, at = secrets.token_urlsafe(24), clock.now()
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if replaces:
            _revoke_earlier(locked, replaces, actor)
        live = EnrolledPhone.objects.filter(user=locked, revoked_at=None, expires_at__gt=at)
        if live.count() >= PHONES_MOST:
            raise Conflict(f"You have {PHONES_MOST} enrolled phones; revoke one under your name first.")
        phone = EnrolledPhone.objects.create(
            user=locked,
            environment=environment,
            name=name,
            secret_hash=secret_hash(secret),
            enrolled_at=at,
            expires_at=at + LIFETIME,
        )
        after = {"name": name, "of": person_reference(locked), "expires_at": phone.expires_at}
        this.record("phone.enrolled", subject=phone.subject, after=after)
    return phone, secret


def _revoke_earlier(user: User, secret: str, actor: Actor) -> None:
    """Revoke what a browser held before: the cookie with its secret is about to be overwritten."""
    earlier = EnrolledPhone.objects.filter(user=user, secret_hash=secret_hash(secret), revoked_at=None).first()
    if earlier is not None:
        phone_revoke(phone=earlier, actor=actor, reason="Enrolled anew")


def phone_revoke(*, phone: EnrolledPhone, actor: Actor, reason: str = "", request_id: str = "") -> bool:
    """Revoke a phone; its next use is refused. False when it is revoked already."""
    with change(actor=actor, environment=phone.environment, reason=reason, request_id=request_id) as this:
        locked = EnrolledPhone.objects.select_for_update(no_key=True).get(pk=phone.pk)
        if locked.revoked_at is not None:
            return False
        locked.revoked_at = clock.now()
        locked.save(update_fields=["revoked_at"])
        this.record(
            "phone.revoked", subject=phone.subject, before={"revoked_at": None}, after={"revoked_at": locked.revoked_at}
        )
    return True


def phone_find(*, secret: str, environment: str) -> EnrolledPhone | None:
    """Return the phone of a secret, live or not; None for any other text. One query."""
    if not secret or len(secret) > 200:
        return None
    rows = EnrolledPhone.objects.select_related("user").filter(environment=environment)
    return rows.filter(secret_hash=secret_hash(secret)).first()


def phone_refusal(phone: EnrolledPhone) -> str:
    """Say why a phone may not be used now; empty when it may. One query."""
    if phone.revoked_at is not None:
        return "This phone was revoked."
    if not phone.live:
        return "This phone was enrolled more than 30 days ago."
    if not phone.user.is_active or not can(phone.user, phone.environment, *MAY_USE):
        return f"Whoever enrolled this phone may no longer kill in {phone.environment}."
    return ""


def phone_use(*, phone: EnrolledPhone) -> str:
    """Note that a phone is used now; return why it may not be, empty when it may. Both are entries of the history."""
    with change(actor=Actor.phone(phone.user, phone.name), environment=phone.environment) as this:
        locked = (
            EnrolledPhone.objects.select_for_update(no_key=True, of=("self",)).select_related("user").get(pk=phone.pk)
        )
        refusal = phone_refusal(locked)
        if not refusal:
            locked.used_at = clock.now()
            locked.save(update_fields=["used_at"])
        after = {"name": phone.name, "of": person_reference(phone.user)}
        verb = "phone.refused" if refusal else "phone.used"
        this.record(verb, subject=phone.subject, after=after, reason=refusal or None)
    return refusal
