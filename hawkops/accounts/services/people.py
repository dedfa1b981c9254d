"""Writes on people, their roles and their teams."""

from collections.abc import Iterable

from hawkops.accounts.models import BREAK_GLASS, RoleGrant, TeamMembership, User
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.services import change


def person_create(
    *, username: str, actor: Actor, roles: Iterable[Role] = (Role.VIEWER,), environment: str = "", email: str = ""
) -> User:
    """Create a person without a password and grant the roles."""
    username = username.strip()
    if not username:
        raise InvalidInput("Give the person a username.")
    if username.lower() == BREAK_GLASS:
        raise InvalidInput(f"{BREAK_GLASS} is nobody's name: it is the account behind a sealed code.")
    with change(actor=actor) as this:
        if User.objects.filter(username__iexact=username).exists():
            raise Conflict(f"There is already a person named {username}.")
        user = User(username=username, email=email)
        user.set_unusable_password()
        user.save()
        granted = sorted(set(roles))
        RoleGrant.objects.bulk_create(
            RoleGrant(user=user, role=role.value, environment=environment) for role in granted
        )
        this.record(
            "person.created",
            subject=f"person:{user.pk}",
            after={"roles": [role.value for role in granted], "environment": environment or "all"},
        )
    return user


def roles_set(*, user: User, roles: Iterable[Role], environment: str, actor: Actor, request_id: str = "") -> None:
    """Replace the person's roles in one environment (or, empty, everywhere). The last administrator stays one."""
    wanted = {role.value for role in roles}
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        before = sorted(RoleGrant.objects.filter(user=locked, environment=environment).values_list("role", flat=True))
        if before == sorted(wanted):
            return
        RoleGrant.objects.filter(user=locked, environment=environment).exclude(role__in=wanted).delete()
        RoleGrant.objects.bulk_create(
            RoleGrant(user=locked, role=role, environment=environment) for role in sorted(wanted - set(before))
        )
        if not RoleGrant.objects.filter(role=Role.ADMIN.value, environment="").exists():
            raise Conflict("Somebody must stay administrator of all environments. Grant it to another person first.")
        this.record(
            "role.changed",
            subject=f"person:{user.pk}",
            before={"roles": before, "environment": environment or "all"},
            after={"roles": sorted(wanted), "environment": environment or "all"},
        )


def teams_set(*, user: User, teams: Iterable[Team], actor: Actor, request_id: str = "") -> None:
    """Replace the teams for which a person signs."""
    wanted = {team.value for team in teams}
    with change(actor=actor, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        before = sorted(TeamMembership.objects.filter(user=locked).values_list("team", flat=True))
        if before == sorted(wanted):
            return
        TeamMembership.objects.filter(user=locked).exclude(team__in=wanted).delete()
        TeamMembership.objects.bulk_create(
            TeamMembership(user=locked, team=team) for team in sorted(wanted - set(before))
        )
        this.record(
            "person.teams_changed",
            subject=f"person:{user.pk}",
            before={"teams": before},
            after={"teams": sorted(wanted)},
        )
