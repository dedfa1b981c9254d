"""One's own sessions, and the middleware that notes them."""

import ipaddress
import logging
import time
from collections.abc import Callable

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_POST

from hawkops.accounts.models import User
from hawkops.accounts.services.sessions import session_end, session_note, sessions_end
from hawkops.core.htmx import request_id, see_other
from hawkops.history.actors import Actor

log = logging.getLogger(__name__)

NOTED_EVERY_SECONDS = 60
NOTED_MOST = 10_000


class SessionsMiddleware:
    """Note which sessions are used, once a minute each and never before an answer; a press waits for none of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._noted: dict[str, float] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        earlier = request.session.session_key
        response = self.get_response(request)
        key = request.session.session_key
        # whoever was not looked up is not looked up for this
        if key and (request.method == "GET" or key != earlier) and hasattr(request, "_cached_user"):
            self._note(request, key, earlier)
        return response

    def _note(self, request: HttpRequest, key: str, earlier: str | None) -> None:
        now = time.monotonic()
        if not isinstance(request.user, User) or now - self._noted.get(key, -NOTED_EVERY_SECONDS) < NOTED_EVERY_SECONDS:
            return
        if len(self._noted) >= NOTED_MOST:
            self._noted.clear()
        self._noted[key] = now
        agent = request.headers.get("User-Agent", "").replace("\x00", "")
        try:
            session_note(user=request.user, key=key, earlier=earlier, address=address(request), agent=agent)
        except DatabaseError:
            log.warning("session.not_noted", exc_info=True)


def address(request: HttpRequest) -> str:
    """Return where a request comes from; `::` when that is no network."""
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return "::"


@require_POST
def end_own(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own sessions."""
    assert isinstance(request.user, User)
    actor = Actor.person(request.user)
    name = session_end(user=request.user, pk=pk, actor=actor, request_id=request_id(request))
    messages.success(request, f"The session of {name} has ended.")
    return see_other("accounts:profile", "#sessions")


@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """End all of one's own sessions but this one."""
    assert isinstance(request.user, User)
    ended = sessions_end(
        user=request.user,
        actor=Actor.person(request.user),
        but=request.session.session_key or "",
        request_id=request_id(request),
    )
    messages.success(request, f"{ended} other sessions have ended." if ended != 1 else "One other session has ended.")
    return see_other("accounts:profile", "#sessions")
