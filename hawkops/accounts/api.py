"""Who calls the API: a program with a token, or the signed-in person with the form token. One policy for every route."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from hawkops.accounts.models import ApiToken
from hawkops.accounts.selectors import MUST_HAVE, lacks_factor
from hawkops.accounts.services.credentials import api_token_find
from hawkops.core.access import Role, Scope, can
from hawkops.core.api import documented
from hawkops.core.bounded import fit
from hawkops.core.environments import Environment
from hawkops.core.errors import NotAllowed
from hawkops.history.actors import Actor

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Whoever calls, as the history names them, and where they may look."""

    actor: Actor
    environments: tuple[Environment, ...]


class Bearer(HttpBearer):
    """A token with a scope in the environment."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        """Return who calls; None for a token that is unknown, expired or revoked. Raises NotAllowed."""
        _fit_address(request)
        found = api_token_find(secret=token.strip())
        if found is None:
            return None
        where = _environment(request)
        if not found.may(where, self.scope):
            raise NotAllowed(f"The token {found.name} has no scope {self.scope} in {where or 'any environment'}.")
        return Caller(Actor.token(found), _of_token(found, self.scope))


class Session(APIKeyCookie):
    """The person who is signed in to the console, with the rights that its pages ask for."""

    param_name = "hawkops_session"

    def __init__(self, scope: Scope, roles: tuple[Role, ...]) -> None:
        super().__init__(csrf=False)  # checked below, so that its refusal says what is missing
        self.scope, self.roles = scope, roles

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        """Return who calls; None when nobody is signed in. Raises NotAllowed."""
        if "Authorization" in request.headers or not request.user.is_authenticated:
            return None
        _fit_address(request)
        if request.method not in SAFE_METHODS and check_csrf(request) is not None:
            raise NotAllowed("The form token is missing or wrong: send it as X-CSRFToken. Nothing was changed.")
        where = _environment(request)
        if not can(request.user, where, *self.roles):
            wanted = " or ".join(self.roles) or "any"
            raise NotAllowed(f"This needs the role {wanted} in {where or 'some environment'}.")
        # what the scope kill covers only stops
        if request.method not in SAFE_METHODS and self.scope is not Scope.KILL and lacks_factor(request.user):
            raise NotAllowed(MUST_HAVE)
        return Caller(Actor.person(request.user), tuple(one for one in Environment if can(request.user, one.value)))


def asks(scope: Scope, *roles: Role) -> dict[str, Any]:
    """Return what an operation declares: the scope that a token needs, the roles of which a person needs one.

    Reading takes any role.
    """
    return {"auth": [Bearer(scope), Session(scope, roles)], "openapi_extra": documented(scope.value, *roles)}


def caller(request: HttpRequest) -> Caller:
    """Return who calls an operation."""
    found = request.auth  # type: ignore[attr-defined]
    assert isinstance(found, Caller)
    return found


def who(request: HttpRequest) -> dict[str, Any]:
    """Return what every service wants to know of the caller."""
    return {"actor": caller(request).actor, "request_id": str(getattr(request, "request_id", ""))}


def _environment(request: HttpRequest) -> str:
    assert request.resolver_match is not None
    return str(request.resolver_match.kwargs.get("environment", ""))


def _of_token(token: ApiToken, scope: Scope) -> tuple[Environment, ...]:
    return tuple(one for one in Environment if token.may(one.value, scope))


def _fit_address(request: HttpRequest) -> None:
    """Refuse what PostgreSQL can't even compare with."""
    fit(request.path)
    for name, values in request.GET.lists():
        fit([name, *values])
