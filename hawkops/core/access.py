"""Roles, tokens' scopes, and the one way to ask who may do something. Where grants are kept is the accounts' business."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from hawkops.core.environments import Environment


class Role(StrEnum):
    """What a person may do in an environment. Every role may also read."""

    VIEWER = "viewer"
    RELEASER = "releaser"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Scope(StrEnum):
    """What an API token may do where it counts. None implies another: a token that changes flags may not read them."""

    READ = "read"
    FLAGS_WRITE = "flags:write"
    RELEASES_WRITE = "releases:write"
    EVIDENCE_WRITE = "evidence:write"
    SCRIPTS_RUN = "scripts:run"
    INCIDENTS_WRITE = "incidents:write"
    ONCALL_WRITE = "oncall:write"
    KILL = "kill"


class Person(Protocol):
    """What access needs to know of a user."""

    is_authenticated: bool

    def roles_in(self, environment: str) -> frozenset[Role]:
        """The roles held in one environment (grants for all environments included)."""
        ...


def can(user: object, environment: str, *roles: Role) -> bool:
    """Say whether the user holds any of the roles there. Administrators hold all; no role given means any role."""
    if not getattr(user, "is_authenticated", False):
        return False
    held: frozenset[Role] = user.roles_in(environment)  # type: ignore[attr-defined]
    if Role.ADMIN in held:
        return True
    return bool(held.intersection(roles)) if roles else bool(held)


def can_in_all(user: object, environments: Iterable[str], *roles: Role) -> bool:
    """Say whether the user holds any of the roles in each of the environments, as what counts in all of them takes."""
    return all(can(user, environment, *roles) for environment in environments)


P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


def requires(
    *roles: Role,
) -> Callable[[Callable[Concatenate[HttpRequest, P], R]], Callable[Concatenate[HttpRequest, P], R]]:
    """Refuse the view with 403 to people who hold none of the roles in the URL's environment."""

    def decorate(view: Callable[Concatenate[HttpRequest, P], R]) -> Callable[Concatenate[HttpRequest, P], R]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            environment = str(kwargs.get("environment", ""))
            if not can(request.user, environment, *roles):
                wanted = " or ".join(roles) or "any"
                raise PermissionDenied(f"This needs the role {wanted} in {environment or 'some environment'}.")
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def stops(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a press that only stops: no second factor is asked before it, whoever must have one."""
    view.stops = True  # type: ignore[attr-defined]
    return view


def requires_everywhere(
    *roles: Role,
) -> Callable[[Callable[Concatenate[HttpRequest, P], R]], Callable[Concatenate[HttpRequest, P], R]]:
    """Refuse the view with 403 to people who lack the roles in some environment: what it changes counts in all of them."""

    def decorate(view: Callable[Concatenate[HttpRequest, P], R]) -> Callable[Concatenate[HttpRequest, P], R]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            must_everywhere(request.user, *roles)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def must_everywhere(user: object, *roles: Role, environments: Iterable[str] = tuple(Environment)) -> None:
    """Raise PermissionDenied, which names where the roles are missing."""
    places = [str(one) for one in environments]
    if missing := [one for one in places if not can(user, one, *roles)]:
        wanted = " or ".join(roles) or "any"
        raise PermissionDenied(
            f"This counts in {', '.join(places)}: it needs the role {wanted} in each, {', '.join(missing)} too."
        )
