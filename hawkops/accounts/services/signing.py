"""Ways in: login links, and what is noted of signing in."""

import secrets
from datetime import timedelta

from django.contrib.sessions.models import Session

from hawkops.accounts import lockout, repeats
from hawkops.accounts.models import KeyedAnswer, LoginLink, SecretTries, User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.errors import NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change

LINK_LIFETIME = timedelta(hours=1)
# what signs nobody in any more is kept so long, for whoever asks who could
ENDED_KEPT = timedelta(days=30)


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


def sign_in_record(*, user: User, by: str = "password", factor: str = "", request_id: str = "") -> None:
    """Note that a person signed in: by what, and by which second factor."""
    with change(actor=Actor.person(user), request_id=request_id) as this:
        after = {"by": by, "second_factor": factor} if factor else {"by": by}
        this.record("person.signed_in", subject=f"person:{user.pk}", after=after)


def sign_out_record(*, user: User, request_id: str = "") -> None:
    """Note that a person signed out: what else of the browser is open hears it."""
    with change(actor=Actor.person(user), request_id=request_id) as this:
        this.record("person.signed_out", subject=f"person:{user.pk}")


def password_set(*, user: User, password: str, request_id: str = "") -> None:
    """Set a person's password, which was looked at by the validators; the entry never has it. Their sessions end."""
    with change(actor=Actor.person(user), request_id=request_id) as this:
        user.set_password(password)
        user.save(update_fields=["password"])
        this.record("person.password_changed", subject=f"person:{user.pk}")


def ended_prune() -> int:
    """Forget sessions and links that ended a month ago, old answers and old tries; return how many."""
    now = clock.now()
    rows = (
        Session.objects.filter(expire_date__lt=now - ENDED_KEPT),
        LoginLink.objects.filter(expires_at__lt=now - ENDED_KEPT),
        KeyedAnswer.objects.filter(at__lt=now - repeats.KEEP),
        SecretTries.objects.filter(last_at__lt=now - lockout.FORGOTTEN_AFTER),
    )
    return sum(ended.delete()[0] for ended in rows)
