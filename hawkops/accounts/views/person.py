"""How one person comes in, for administrators of all environments: sessions, identities elsewhere, mail address."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.accounts.selectors import factors, identities, sessions
from hawkops.accounts.services.identities import email_set, identity_link, identity_unlink
from hawkops.accounts.services.sessions import sessions_end
from hawkops.accounts.views.oidc import set_up
from hawkops.core.access import Role, requires_everywhere
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import request_id, see_other
from hawkops.core.recent import must_be_recent
from hawkops.history.actors import Actor


@require_safe
@requires_everywhere(Role.ADMIN)
def person(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show from where a person is signed in, and by what they may sign in."""
    found = get_object_or_404(User, pk=pk)
    context = {
        "person": found,
        "factors": factors(found),
        "sessions": sessions(found),
        "identities": identities(found),
        "oidc": set_up(),
    }
    return render(request, "accounts/person.html", context)


@require_POST
@requires_everywhere(Role.ADMIN)
def sessions_end_all(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End every session of a person."""
    found = get_object_or_404(User, pk=pk)
    ended = sessions_end(
        user=found,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        # who ends their own goes on with this one
        but=(request.session.session_key or "") if found == request.user else "",
        request_id=request_id(request),
    )
    said = "One session has" if ended == 1 else f"{ended} sessions have"
    messages.success(request, f"{said} ended. Enrolled phones of {found.username} go on: revoke them beside the keys.")
    return see_other("accounts:person", environment=environment, pk=pk)


@require_POST
@requires_everywhere(Role.ADMIN)
def email(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Set the mail address of a person, by which an issuer may vouch for them."""
    must_be_recent()
    found = get_object_or_404(User, pk=pk)
    try:
        email_set(
            user=found,
            email=request.POST.get("email", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("accounts:person", environment=environment, pk=pk)


@require_POST
@requires_everywhere(Role.ADMIN)
def link(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Link an identity of the issuer to a person."""
    must_be_recent()
    found = get_object_or_404(User, pk=pk)
    try:
        identity_link(
            user=found,
            subject=request.POST.get("subject", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("accounts:person", environment=environment, pk=pk)


@require_POST
@requires_everywhere(Role.ADMIN)
def unlink(request: HttpRequest, environment: str, pk: int, identity: int) -> HttpResponse:
    """Let an identity sign in as a person no more."""
    found = get_object_or_404(User, pk=pk)
    try:
        identity_unlink(user=found, pk=identity, actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("accounts:person", environment=environment, pk=pk)
