"""Sessions: noted when they begin and are used, ended one by one or all at once. Live streams hear it by the entry."""

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.utils import timezone

from hawkops.accounts.models import User
from hawkops.accounts.selectors import browser, session_keys
from hawkops.core.errors import NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change

AGENT_MOST = 200


def session_note(*, user: User, key: str, earlier: str | None, address: str, agent: str) -> None:
    """Note that a session is used; `earlier` is the key it had before it got a new one. No entry: nothing changes."""
    now = timezone.now()
    seen = {"ip": address, "user_agent": agent[:AGENT_MOST], "last_seen_at": now}
    rows = UserSession.objects.filter(user=user)
    if earlier and earlier != key and rows.filter(session_key=earlier).update(session_key=key, **seen):
        return
    if rows.filter(session_key=key).update(**seen):
        return
    # the first of a session: what the person's ended ones left behind goes
    rows.exclude(session_key__in=Session.objects.filter(expire_date__gt=now).values("session_key")).delete()
    UserSession.objects.get_or_create(session_key=key, defaults={"user": user, **seen})


def session_end(*, user: User, pk: int, actor: Actor, request_id: str = "") -> str:
    """End one of a person's sessions; returns what its browser called itself. Raises NotFound."""
    with change(actor=actor, request_id=request_id) as this:
        row = UserSession.objects.select_for_update(no_key=True).filter(user=user, pk=pk).first()
        if row is None:
            raise NotFound("This session has ended already.")
        name = browser(row.user_agent)
        Session.objects.filter(session_key=row.session_key).delete()
        row.delete()
        this.record("person.session_ended", subject=f"person:{user.pk}", before={"browser": name})
    return name


def sessions_end(*, user: User, actor: Actor, but: str = "", reason: str = "", request_id: str = "") -> int:
    """End all sessions of a person, but the one whose key is given. Returns how many; those that nobody noted too."""
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        keys = [key for key in session_keys(user) if key != but]
        Session.objects.filter(session_key__in=keys).delete()
        UserSession.objects.filter(user=user).exclude(session_key=but).delete()
        if keys:
            this.record("person.session_ended", subject=f"person:{user.pk}", before={"sessions": len(keys)})
    return len(keys)
