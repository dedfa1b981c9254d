"""Pages for signing in, and for the administrator's people, keys and tokens. GET never changes anything."""

import re
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm, SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.accounts.lockout import TooManyTries, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import ApiToken, DeviceKey, EnrolledPhone, User
from hawkops.accounts.phones import phone_revoke
from hawkops.accounts.services import (
    TOKEN_LIFETIME,
    TOKEN_LIFETIME_MOST,
    api_token_create,
    api_token_revoke,
    device_key_create,
    device_key_revoke,
    login_link_create,
    login_link_find,
    login_link_use,
    password_set_record,
    person_create,
    roles_set,
    sign_in_record,
    teams_set,
)
from hawkops.core.access import Role, Scope, can, can_in_all, must_everywhere, requires
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, NotFound
from hawkops.core.htmx import request_id
from hawkops.core.recent import must_be_recent
from hawkops.core.teams import Team
from hawkops.history.actors import Actor

EMERGENCY = re.compile(r"/[a-z]+/emergency")
BACKEND = "django.contrib.auth.backends.ModelBackend"


@login_not_required
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in with a password. Known and unknown names are answered alike, also when there were too many tries."""
    form = AuthenticationForm(request, request.POST or None)
    given = {"name": request.POST.get("username", ""), "address": request.META.get("REMOTE_ADDR", "")}
    pause = None
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    if form.is_bound:
        try:
            try_begin(**given)
        except TooManyTries as refusal:
            pause, form = refusal, AuthenticationForm(request, initial={"username": given["name"]})
    if form.is_bound and form.is_valid():
        user = form.get_user()
        assert isinstance(user, User)
        try_succeeded(**given)
        login(request, user)
        sign_in_record(user=user, request_id=request_id(request))
        safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
        return redirect(wanted if safe else "/")
    status = 422 if form.is_bound else 200
    if form.is_bound:
        try_failed(**given, request_id=request_id(request))
    # a link from elsewhere keeps an enrolled phone's cookie back; one of our own page doesn't
    emergency = wanted if EMERGENCY.fullmatch(wanted) else ""
    context = {"form": form, "next": wanted, "emergency": emergency, "pause": pause}
    answer = render(request, "accounts/login.html", context, status=pause.status if pause else status)
    if pause:
        answer["Retry-After"] = str(pause.seconds)
    return answer


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    logout(request)
    return redirect("accounts:login")


@login_not_required
@require_http_methods(["GET", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button of a one-time link; pressing it signs in. Link previews can't spend the link."""
    try:
        if request.method == "GET":
            return render(request, "accounts/enter.html", {"person": login_link_find(token=token).user})
        user = login_link_use(token=token, request_id=request_id(request))
    except NotFound as refusal:
        return render(request, "accounts/enter.html", {"refusal": refusal.message}, status=404)
    login(request, user, backend=BACKEND)
    return redirect("/")


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Set one's own password, and sign out."""
    user = request.user
    assert isinstance(user, User)
    form: SetPasswordForm[User] = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        must_be_recent()  # whoever found a session open must not make it theirs
        form.save()
        update_session_auth_hash(request, user)
        password_set_record(user=user, request_id=request_id(request))
        messages.success(request, "Your password is set. Other sessions of yours have ended.")
        return redirect("accounts:profile")
    context = {"form": form, "roles": sorted(user.roles_in("")), "phones": user.phones.all()[:20]}
    return render(request, "accounts/profile.html", context)


@require_POST
def phone_revoke_own(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own enrolled phones."""
    phone = get_object_or_404(EnrolledPhone, pk=pk, user=request.user)
    phone_revoke(phone=phone, actor=Actor.person(request.user), request_id=request_id(request))
    messages.success(request, f"{phone.name} is revoked: it may kill no more.")
    return redirect(reverse("accounts:profile") + "#phones")


@require_safe
@requires()
def people(request: HttpRequest, environment: str) -> HttpResponse:
    """Who may do what here, the keys of devices and the tokens of programs. Only administrators may change anything."""
    users = User.objects.filter(is_active=True).order_by("username")
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
            "all_scopes": list(Scope),
            "token_days": TOKEN_LIFETIME.days,
            "token_days_most": TOKEN_LIFETIME_MOST.days,
            "may_change": can(request.user, environment, Role.ADMIN),
            "may_change_everywhere": can_in_all(request.user, Environment, Role.ADMIN),
            "shown_key": request.session.pop("shown_key", None),
            "shown_link": request.session.pop("shown_link", None),
        },
    )


def _granted_here(user: User, environment: str) -> list[str]:
    return list(user.grants.filter(environment=environment).values_list("role", flat=True))


def _done(request: HttpRequest, environment: str, refusal: HawkOpsError | None, sentence: str = "") -> HttpResponse:
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
        return _done(request, environment, NotFound("Choose one of the roles."))
    except HawkOpsError as refusal:
        return _done(request, environment, refusal)
    return _done(request, environment, None, f"{user.username} is added as {role}.")


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
        return _done(request, environment, refusal)
    return _done(request, environment, None, f"{user.username} now has {len(roles)} roles in {environment}.")


@require_POST
@requires(Role.ADMIN)
def person_teams(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Replace the teams for which somebody signs; they count in every environment, so that takes the right in each."""
    must_everywhere(request.user, Role.ADMIN)
    user = get_object_or_404(User, pk=pk)
    teams = [team for team in Team if team.value in request.POST.getlist("teams")]
    teams_set(user=user, teams=teams, actor=Actor.person(request.user), request_id=request_id(request))
    said = ", ".join(teams) or "no team"
    return _done(request, environment, None, f"{user.username} signs for {said}.")


@require_POST
@requires(Role.ADMIN)
def key_add(request: HttpRequest, environment: str) -> HttpResponse:
    """Create a device key and show it once."""
    try:
        key, secret = device_key_create(
            environment=environment,
            name=request.POST.get("name", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _done(request, environment, refusal)
    request.session["shown_key"] = secret
    return _done(request, environment, None, f"The key {key.name} is made.")


@require_POST
@requires(Role.ADMIN)
def key_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke a device key."""
    key = get_object_or_404(DeviceKey, pk=pk, environment=environment)
    device_key_revoke(
        key=key,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return _done(request, environment, None, f"The key {key.name} is revoked in every gateway.")


@require_POST
@requires(Role.ADMIN)
def token_add(request: HttpRequest, environment: str) -> HttpResponse:
    """Create an API token for this environment, or for all by who administers all of them, and show it once."""
    everywhere = request.POST.get("everywhere") == "1"
    if everywhere:
        must_everywhere(request.user, Role.ADMIN)
    assert isinstance(request.user, User)
    days = request.POST.get("days", "")
    try:
        token, secret = api_token_create(
            environment="" if everywhere else environment,
            name=request.POST.get("name", ""),
            scopes=[scope for scope in Scope if scope.value in request.POST.getlist("scopes")],
            lifetime=timedelta(days=int(days) if days.isdecimal() and len(days) < 5 else 0),
            actor=Actor.person(request.user),
            created_by=request.user,
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _done(request, environment, refusal)
    request.session["shown_key"] = secret
    return _done(request, environment, None, f"The token {token.name} is made.")


@require_POST
@requires(Role.ADMIN)
def token_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke an API token; one that counts in all environments by who administers all of them."""
    token = get_object_or_404(ApiToken, pk=pk, environment__in=("", environment))
    if not token.environment:
        must_everywhere(request.user, Role.ADMIN)
    api_token_revoke(
        token=token,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return _done(request, environment, None, f"The token {token.name} is revoked.")


@require_POST
@requires(Role.ADMIN)
def phone_revoke_any(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke somebody's enrolled phone."""
    phone = get_object_or_404(EnrolledPhone, pk=pk, environment=environment)
    phone_revoke(
        phone=phone,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return _done(request, environment, None, f"{phone.name} of {phone.user.username} is revoked.")
