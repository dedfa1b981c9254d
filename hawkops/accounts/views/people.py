"""Who may do what: the page, and the presses for people."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import BREAK_GLASS, ApiToken, BreakGlassCode, DeviceKey, EnrolledPhone, User
from hawkops.accounts.services.credentials import (
    KEY_LIFETIME,
    KEY_LIFETIME_MOST,
    KEY_OVERLAP,
    OVERLAP_MOST,
    TOKEN_LIFETIME,
    TOKEN_LIFETIME_MOST,
    TOKEN_OVERLAP,
)
from hawkops.accounts.services.people import person_create, roles_set, teams_set
from hawkops.accounts.services.signing import login_link_create
from hawkops.core.access import Role, Scope, can, can_in_all, must_everywhere, requires
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, NotFound
from hawkops.core.htmx import request_id
from hawkops.core.teams import Team
from hawkops.history.actors import Actor


@require_safe
@requires()
def people(request: HttpRequest, environment: str) -> HttpResponse:
    """Who may do what here, the keys of devices and the tokens of programs. Only administrators may change anything."""
    users = User.objects.filter(is_active=True).exclude(username=BREAK_GLASS).order_by("username")
    rows = [
        {
            "user": user,
            "roles": sorted(user.roles_in(environment)),
            "set": _granted_here(user, environment),
            "teams": sorted(user.teams()),
        }
        for user in users
    ]
    return render(
        request,
        "accounts/people.html",
        {
            "rows": rows,
            "all_roles": list(Role),
            "all_teams": list(Team),
            "keys": DeviceKey.objects.filter(environment=environment),
            "tokens": ApiToken.objects.filter(environment__in=("", environment)).select_related("created_by"),
            "phones": EnrolledPhone.objects.filter(environment=environment).select_related("user"),
            "codes": BreakGlassCode.objects.all()[:6],
            "all_scopes": list(Scope),
            "token_days": TOKEN_LIFETIME.days,
            "token_days_most": TOKEN_LIFETIME_MOST.days,
            "token_overlap": TOKEN_OVERLAP.days,
            "key_days": KEY_LIFETIME.days,
            "key_days_most": KEY_LIFETIME_MOST.days,
            "key_overlap": KEY_OVERLAP.days,
            "overlap_most": OVERLAP_MOST.days,
            "may_change": can(request.user, environment, Role.ADMIN),
            "may_change_everywhere": can_in_all(request.user, Environment, Role.ADMIN),
            "shown_key": request.session.pop("shown_key", None),
            "shown_link": request.session.pop("shown_link", None),
        },
    )


def _granted_here(user: User, environment: str) -> list[str]:
    return list(user.grants.filter(environment=environment).values_list("role", flat=True))


def back(request: HttpRequest, environment: str, refusal: HawkOpsError | None, sentence: str = "") -> HttpResponse:
    if refusal is not None:
        messages.error(request, refusal.message)
    elif sentence:
        messages.success(request, sentence)
    return redirect(reverse("accounts:people", kwargs={"environment": environment}))


@require_POST
@requires(Role.ADMIN)
def person_add(request: HttpRequest, environment: str) -> HttpResponse:
    """Add a person with one role here, and show a link that signs them in once."""
    actor = Actor.person(request.user)
    try:
        role = Role(request.POST.get("role", Role.VIEWER))
        user = person_create(
            username=request.POST.get("username", ""), actor=actor, roles=[role], environment=environment
        )
        request.session["shown_link"] = request.build_absolute_uri(login_link_create(user=user, actor=actor))
    except ValueError:
        return back(request, environment, NotFound("Choose one of the roles."))
    except HawkOpsError as refusal:
        return back(request, environment, refusal)
    return back(request, environment, None, f"{user.username} is added as {role}.")


@require_POST
@requires(Role.ADMIN)
def person_roles(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Replace somebody's roles in this environment."""
    user = get_object_or_404(User, pk=pk)
    roles = [role for role in Role if role.value in request.POST.getlist("roles")]
    try:
        roles_set(
            user=user,
            roles=roles,
            environment=environment,
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return back(request, environment, refusal)
    return back(request, environment, None, f"{user.username} now has {len(roles)} roles in {environment}.")


@require_POST
@requires(Role.ADMIN)
def person_teams(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Replace the teams for which somebody signs; they count in every environment, so that takes the right in each."""
    must_everywhere(request.user, Role.ADMIN)
    user = get_object_or_404(User, pk=pk)
    teams = [team for team in Team if team.value in request.POST.getlist("teams")]
    teams_set(user=user, teams=teams, actor=Actor.person(request.user), request_id=request_id(request))
    said = ", ".join(teams) or "no team"
    return back(request, environment, None, f"{user.username} signs for {said}.")
