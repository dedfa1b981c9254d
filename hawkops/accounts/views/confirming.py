"""Who signed in too long ago to raise exposure says once more who they are, and comes back to what they were about to do."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from hawkops.accounts.lockout import TooManyTries, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import User
from hawkops.core.htmx import request_id
from hawkops.core.recent import SESSION_KEY, NeedsRecentLogin, session_of
from hawkops.history.actors import Actor
from hawkops.history.services import change

KEPT = "waiting_form"
# what is kept of a form until its person has confirmed; files are not
KEPT_CHARACTERS_MOST = 200_000
GetResponse = Callable[[HttpRequest], HttpResponseBase]


def note_sign_in(sender: object, request: HttpRequest, user: object, **_given: Any) -> None:
    """Remember in the session when its person signed in, by whichever way."""
    request.session[SESSION_KEY] = timezone.now().timestamp()


def connect() -> None:
    """Follow every sign-in."""
    user_logged_in.connect(note_sign_in, dispatch_uid="recent.note_sign_in")


class RecentLoginMiddleware:
    """Tell services whose session acts and since when; send who must confirm to the page for it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.session.is_empty() or not request.user.is_authenticated:
            return self.get_response(request)
        raises = not (isinstance(request.user, User) and request.user.breaks_glass)
        with session_of(request.session.get(SESSION_KEY), raises=raises):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Keep the form and go to the page that asks."""
        if not isinstance(error, NeedsRecentLogin):
            return None
        fields = [[name, value] for name, values in request.POST.lists() for value in values]
        kept = {"path": request.get_full_path(), "fields": [one for one in fields if one[0] != "csrfmiddlewaretoken"]}
        secret = any("password" in name for name, _value in fields)
        size = sum(len(name) + len(value) for name, value in fields)
        fits = not request.FILES and not secret and size <= KEPT_CHARACTERS_MOST
        request.session[KEPT] = kept if fits else None
        target = reverse("accounts:confirm")
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": target})
        answer = HttpResponseRedirect(target)
        answer.status_code = 303
        return answer


@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the password again; then offer the kept form with everything that was typed. GET changes nothing."""
    user = request.user
    assert isinstance(user, User)
    kept = request.session.get(KEPT)
    refusal, confirmed, status = "", False, 200
    given = {"name": user.get_username(), "address": request.META.get("REMOTE_ADDR", "")}
    if request.method == "POST":
        try:
            try_begin(**given)
        except TooManyTries as pause:
            refusal, status = pause.message, pause.status
        if not refusal and user.has_usable_password() and user.check_password(request.POST.get("password", "")):
            try_succeeded(**given)
            request.session[SESSION_KEY] = timezone.now().timestamp()
            request.session.pop(KEPT, None)
            request.session.cycle_key()
            with change(actor=Actor.person(user), request_id=request_id(request)) as this:
                this.record("person.confirmed", subject=f"person:{user.pk}")
            if not kept:
                return redirect("/")
            confirmed = True
        elif not refusal:
            refusal, status = "That is not your password.", 422
            try_failed(**given, request_id=request_id(request))
    context = {"kept": kept, "confirmed": confirmed, "refusal": refusal, "has_password": user.has_usable_password()}
    return render(request, "accounts/confirm.html", context, status=status)
