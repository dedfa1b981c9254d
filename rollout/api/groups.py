"""`/api/v1/ENVIRONMENT/groups`: target groups with their members, as JSON or CSV."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import WHOLE_MOST, Body
from hawkops.core.bounded import TooLarge
from hawkops.core.errors import NotFound
from rollout.api.flags import ChangedOut, changed
from rollout.members import FILE_BYTES, as_csv, from_csv
from rollout.models import TargetGroup
from rollout.selectors import groups as selectors
from rollout.services import groups as services

MAY_CHANGE = (Role.RELEASER,)
UPLOAD = asks(Scope.FLAGS_WRITE, *MAY_CHANGE)
UPLOAD["openapi_extra"]["requestBody"] = {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}

router = Router(tags=["Target groups"])


class GroupBody(Body):
    """A new group, empty."""

    key: str
    title: str
    reason: str


class MembersBody(Body):
    """Exactly the devices that the group holds afterwards; `revision` is the group's as it was read."""

    members: list[str]
    revision: int
    reason: str


class GroupOut(Schema):
    """A group, how many devices it holds, how many of those are active, and the flags whose rules name it."""

    key: str
    title: str
    members: int
    active: int
    used_by: list[str]
    revision: int
    changed_at: datetime


class GroupsOut(Schema):
    """All groups."""

    groups: list[GroupOut]


class MembersOut(Schema):
    """A group's devices."""

    revision: int
    members: list[str]


@router.get("/{environment}/groups", response=GroupsOut, **asks(Scope.READ))
def groups(request: HttpRequest, environment: str) -> GroupsOut:
    """Every group."""
    return GroupsOut(groups=[_group(one) for one in selectors.shown(environment)])


@router.post("/{environment}/groups", response={201: GroupOut}, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def group_create(request: HttpRequest, response: HttpResponse, environment: str, body: GroupBody) -> GroupOut:
    """Make an empty group."""
    made = services.group_create(
        environment=environment, key=body.key, title=body.title, reason=body.reason, **who(request)
    )
    response["Location"] = f"/api/v1/{environment}/groups/{made.key}"
    return _shown(made)


@router.get("/{environment}/groups/{key}", response=GroupOut, **asks(Scope.READ))
def group(request: HttpRequest, environment: str, key: str) -> GroupOut:
    """One group."""
    return _shown(_found(environment, key))


@router.delete("/{environment}/groups/{key}", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def group_delete(request: HttpRequest, environment: str, key: str, reason: str) -> ChangedOut:
    """Delete a group that no rule names."""
    return changed(environment, services.group_delete(environment=environment, key=key, reason=reason, **who(request)))


@router.get("/{environment}/groups/{key}/members", response=MembersOut, **asks(Scope.READ))
def members(request: HttpRequest, environment: str, key: str) -> MembersOut:
    """The devices of a group, by their targeting keys."""
    found = _found(environment, key)
    return MembersOut(revision=found.revision, members=list(selectors.members(found)))


@router.put("/{environment}/groups/{key}/members", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def members_set(request: HttpRequest, environment: str, key: str, body: MembersBody) -> ChangedOut:
    """Put exactly these devices into a group; larger lists go up as CSV."""
    entry = services.group_members_set(
        environment=environment,
        key=key,
        members=body.members,
        expected_revision=body.revision,
        reason=body.reason,
        **who(request),
    )
    return changed(environment, entry)


@router.get("/{environment}/groups/{key}/members.csv", **asks(Scope.READ))
def members_csv(request: HttpRequest, environment: str, key: str) -> StreamingHttpResponse:
    """The devices of a group as CSV, one on a line under the heading `targeting_key`."""
    lines = as_csv(selectors.members(_found(environment, key)))
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")


@router.put("/{environment}/groups/{key}/members.csv", response=ChangedOut, **UPLOAD)
def members_csv_set(
    request: HttpRequest, environment: str, key: str, reason: str, revision: Annotated[int, Query(ge=0, le=WHOLE_MOST)]
) -> ChangedOut:
    """Put exactly the devices of a CSV file, which is the body, into a group."""
    # not `request.body`: that stops at the size of a form
    data = request.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise TooLarge(f"The file has more than {FILE_BYTES // 1_000_000} MB.")
    entry = services.group_members_set(
        environment=environment,
        key=key,
        members=list(from_csv(data)),
        expected_revision=revision,
        reason=reason,
        **who(request),
    )
    return changed(environment, entry)


def _found(environment: str, key: str) -> TargetGroup:
    found = selectors.group(environment, key)
    if found is None:
        raise NotFound(f"There is no group {key!r} in {environment}.")
    return found


def _shown(found: TargetGroup) -> GroupOut:
    return next(_group(one) for one in selectors.shown(found.environment) if one.group.pk == found.pk)


def _group(one: selectors.Shown) -> GroupOut:
    return GroupOut(
        key=one.group.key,
        title=one.group.title,
        members=one.members,
        active=one.active,
        used_by=list(one.used_by),
        revision=one.group.revision,
        changed_at=one.group.changed_at,
    )
