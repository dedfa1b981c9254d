"""Whether the person of a session has proven lately that it is them: asked before exposure rises, never before a kill.

The middleware tells what it knows of the request's session; services ask where they raise, so that no page can forget it.
Tokens, schedules and commands are no sessions and are not asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from hawkops.core.errors import NotAllowed

# in the session, in seconds since 1970
SESSION_KEY = "authenticated_at"


class NeedsRecentLogin(Exception):
    """The session's person signed in too long ago for this; nothing was changed.

    No refusal like others, which views show by themselves: it goes to the middleware, which asks who it is and comes back.
    """


@dataclass(frozen=True)
class _Session:
    signed_in: datetime | None
    raises: bool


_session: ContextVar[_Session] = ContextVar("session")


@contextmanager
def session_of(authenticated_at: float | None, *, raises: bool = True) -> Iterator[None]:
    """Let what runs inside belong to a session of somebody who signed in then; None is a session that does not say.

    One that `raises` nothing, that of a break-glass code, is refused where others are asked who they are.
    """
    moment = None if authenticated_at is None else datetime.fromtimestamp(authenticated_at, tz=UTC)
    token = _session.set(_Session(moment, raises))
    try:
        yield
    finally:
        _session.reset(token)


def must_be_recent() -> None:
    """Raise NeedsRecentLogin in a session whose person signed in longer ago than `RECENT_LOGIN_MINUTES`; 0 asks nobody.

    Raises NotAllowed in one that may raise nothing at all.

    Against the clock by which sessions end, not the one that demos and tests step.
    """
    try:
        session = _session.get()
    except LookupError:
        return
    if not session.raises:
        raise NotAllowed("A break-glass code opens the console to lower exposure, never to raise it.")
    signed_in = session.signed_in
    most = timedelta(minutes=settings.RECENT_LOGIN_MINUTES)
    if most and (signed_in is None or timezone.now() - signed_in > most):
        raise NeedsRecentLogin
