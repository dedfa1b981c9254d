"""Identities elsewhere by which people sign in: linked by an administrator, or by a mail address that is verified there."""

import hashlib

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from hawkops.accounts.models import User
from hawkops.accounts.services.people import person_create
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change

SUBJECT_MOST = 191


def provider() -> str:
    """Return how identities of the present issuer are marked: another issuer's of the same name are other people."""
    return f"oidc-{hashlib.sha256(settings.OIDC_ISSUER.encode()).hexdigest()[:12]}"


def identity_person(*, subject: str, email: str, name: str, request_id: str = "") -> User:
    """Return whom the issuer vouches for; `email` is one that it has verified, else empty. Raises NotAllowed.

    By a linked identity, else by the address of exactly one person who has no other identity of this issuer. Nobody is
    made, unless `OIDC_CREATE_AS` names a role.
    """
    linked = SocialAccount.objects.select_related("user").filter(provider=provider(), uid=subject).first()
    if linked is not None:
        if not linked.user.is_active:
            raise NotAllowed("Your account here is closed. Ask an administrator.")
        assert isinstance(linked.user, User)
        return linked.user
    rule = Actor.rule("oidc")
    found = list(User.objects.filter(email__iexact=email)[:2]) if email else []
    if len(found) == 1 and found[0].is_active:
        identity_link(user=found[0], subject=subject, actor=rule, request_id=request_id)
        return found[0]
    if found or not email or not settings.OIDC_CREATE_AS:
        raise NotAllowed(f"Nobody here is known as that. Tell an administrator this identity: {subject}")
    with change(actor=rule, request_id=request_id):
        made = person_create(username=name or email, actor=rule, roles=[Role(settings.OIDC_CREATE_AS)], email=email)
        identity_link(user=made, subject=subject, actor=rule)
    return made


def identity_link(*, user: User, subject: str, actor: Actor, request_id: str = "") -> None:
    """Let somebody whom the issuer knows by this subject sign in as a person. Raises InvalidInput, Conflict."""
    subject = subject.strip()
    if not settings.OIDC_ISSUER:
        raise Conflict("No issuer is set: OIDC_ISSUER.")
    if not subject or len(subject) > SUBJECT_MOST or not subject.isprintable():
        raise InvalidInput(f"Give the identity's subject (sub), at most {SUBJECT_MOST} characters.")
    with change(actor=actor, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if SocialAccount.objects.filter(provider=provider(), uid=subject).exists():
            raise Conflict("This identity is linked to a person already.")
        if SocialAccount.objects.filter(provider=provider(), user=locked).exists():
            raise Conflict(f"{locked.get_username()} has another identity already; an administrator unlinks it first.")
        SocialAccount.objects.create(user=locked, provider=provider(), uid=subject)
        this.record(
            "person.identity_linked",
            subject=f"person:{user.pk}",
            before={"identity": "none"},
            after={"identity": "linked"},
        )


def identity_unlink(*, user: User, pk: int, actor: Actor, request_id: str = "") -> None:
    """Let an identity sign in no more. Raises NotFound."""
    with change(actor=actor, request_id=request_id) as this:
        row = SocialAccount.objects.select_for_update(no_key=True).filter(user=user, pk=pk).first()
        if row is None:
            raise NotFound("This identity is linked no more.")
        row.delete()
        this.record(
            "person.identity_unlinked",
            subject=f"person:{user.pk}",
            before={"identity": "linked"},
            after={"identity": "none"},
        )


def email_set(*, user: User, email: str, actor: Actor, request_id: str = "") -> None:
    """Set a person's mail address; the entry says that it changed, never the address. Raises InvalidInput, Conflict."""
    email = email.strip()
    try:
        if email:
            validate_email(email)
    except ValidationError:
        raise InvalidInput("That is no mail address.") from None
    with change(actor=actor, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if locked.email == email:
            return
        if email and User.objects.filter(email__iexact=email).exclude(pk=user.pk).exists():
            raise Conflict("Somebody else has this mail address; one person signs in by it.")
        before = {"email": "set" if locked.email else "none"}
        locked.email = email
        locked.save(update_fields=["email"])
        this.record(
            "person.email_changed",
            subject=f"person:{user.pk}",
            before=before,
            after={"email": "set" if email else "none"},
        )
