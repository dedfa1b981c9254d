"""Ways in: login links, and what is noted of signing in."""

import secrets
from datetime import timedelta

from hawkops.accounts.models import LoginLink, User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.errors import NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change

LINK_LIFETIME = timedelta(hours=1)


def login_link_create(*, user: User, actor: Actor, lifetime: timedelta = LINK_LIFETIME) -> str:
    """Return the path of a link that signs the person in once, within an hour by default."""
    if user.breaks_glass:
        raise NotAllowed("Only a sealed code opens this account: manage.py break_glass_create.")
    token = secrets.token_urlsafe(24)
    at = clock.now()
    with change(actor=actor) as this:
        LoginLink.objects.create(user=user, token_hash=secret_hash(token), created_at=at, expires_at=at + lifetime)
        this.record("login_link.created", subject=f"person:{user.pk}", after={"expires_at": at + lifetime})
    return f"/enter/{token}"


def login_link_find(*, token: str) -> LoginLink:
    """Return the usable link of a token. Raises NotFound when it is unknown, used or too old."""
    link = LoginLink.objects.select_related("user").filter(token_hash=secret_hash(token)).first()
    if link is None or link.used_at is not None or link.expires_at <= clock.now() or not link.user.is_active:
        raise NotFound("This link was used already or is too old. Ask for a new one: manage.py login_link NAME.")
    return link


def login_link_use(*, token: str, request_id: str = "") -> User:
    """Spend the link and return its person. Of two simultaneous uses only one succeeds."""
    link = login_link_find(token=token)
    with change(actor=Actor.person(link.user), request_id=request_id) as this:
        spent = LoginLink.objects.filter(pk=link.pk, used_at=None).update(used_at=clock.now())
        if not spent:
            raise NotFound("This link was used already. Ask for a new one: manage.py login_link NAME.")
        this.record("login_link.used", subject=f"person:{link.user_id}")
    return link.user


def sign_in_record(*, user: User, request_id: str = "") -> None:
    """Note that a person signed in with a password."""
    with change(actor=Actor.person(user), request_id=request_id) as this:
        this.record("person.signed_in", subject=f"person:{user.pk}")


def password_set_record(*, user: User, request_id: str = "") -> None:
    """Note that a person set a password (never the password)."""
    with change(actor=Actor.person(user), request_id=request_id) as this:
        this.record("person.password_changed", subject=f"person:{user.pk}")
