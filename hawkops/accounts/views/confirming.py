"""Who signed in too long ago to raise exposure says once more who they are, and comes back to what they were about to do.

By the password, by a code of the authenticator app or by a passkey: who signs in by links or elsewhere has no password.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts import passkeys
from hawkops.accounts.lockout import try_begin, try_failed, try_succeeded
from hawkops.accounts.models import User
from hawkops.accounts.selectors import factors
from hawkops.accounts.views.second import prove
from hawkops.core.errors import HawkOpsError, InvalidInput
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
        secret = any("password" in name or name in ("code", "credential") for name, _value in fields)
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
    """Ask who it is; then offer the kept form with everything that was typed. GET changes nothing."""
    user = request.user
    assert isinstance(user, User)
    kept = request.session.get(KEPT)
    refusal, confirmed, status = "", False, 200
    if request.method == "POST":
        try:
            by = (
                prove(request, user)
                if "code" in request.POST or "credential" in request.POST
                else _password(request, user)
            )
        except HawkOpsError as error:
            refusal, status = error.message, 422 if isinstance(error, InvalidInput) else error.status
        else:
            request.session[SESSION_KEY] = timezone.now().timestamp()
            request.session.pop(KEPT, None)
            request.session.cycle_key()
            with change(actor=Actor.person(user), request_id=request_id(request)) as this:
                this.record("person.confirmed", subject=f"person:{user.pk}", after={"by": by})
            if not kept or kept.get("page"):
                return redirect(kept["path"] if kept else "/")
            confirmed = True
    context = {"kept": kept, "confirmed": confirmed, "refusal": refusal, "factors": factors(user)}
    return render(request, "accounts/confirm.html", context, status=status)


@require_POST
def confirm_options(request: HttpRequest) -> HttpResponse:
    """Return what the browser needs to show a passkey of the person."""
    assert isinstance(request.user, User)
    return JsonResponse(passkeys.options(request.user))


def _password(request: HttpRequest, user: User) -> str:
    given = {"name": user.get_username(), "address": request.META.get("REMOTE_ADDR", "")}
    try_begin(**given)
    if not user.has_usable_password() or not user.check_password(request.POST.get("password", "")):
        try_failed(**given, request_id=request_id(request))
        raise InvalidInput("That is not your password.")
    try_succeeded(**given)
    return "password"


def confirm_first(request: HttpRequest, page: str) -> str:
    """Return where to confirm, after which one comes back to a page that only shows."""
    request.session[KEPT] = {"path": page, "fields": [], "page": True}
    return reverse("accounts:confirm")
