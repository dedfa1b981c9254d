"""`/api/v1/flags` and `/api/v1/ENVIRONMENT/flags/KEY/archive`: flags of a team's own."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks, caller, who
from hawkops.core.access import Role, Scope, can_in_all
from hawkops.core.api import Body
from hawkops.core.environments import Environment
from hawkops.core.errors import NotAllowed
from rollout.api.flags import ChangedOut, Variant, changed
from rollout.services import own_flags as services

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)

router = Router(tags=["Flags"])


class NewFlagBody(Body):
    """A flag for every environment. Key, type and safe variant stay as they are."""

    key: str
    title: str
    explanation: str
    type: str
    on: Any
    off: Any
    safe_variant: Variant = "off"
    value_schema: dict[str, Any] | None = None
    reason: str


class ArchiveBody(Body):
    """The flag's revision as it was read, and why."""

    revision: int
    reason: str


class MadeOut(Schema):
    """What was made where, with each environment's history entry."""

    key: str
    environments: dict[str, int]


@router.post("/flags", response={201: MadeOut}, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_create(request: HttpRequest, body: NewFlagBody) -> tuple[int, MadeOut]:
    """Make a flag in every environment, where every device gets its safe value. Takes rights in all of them."""
    _everywhere(request)
    entries = services.flag_create(
        key=body.key,
        title=body.title,
        explanation=body.explanation,
        kind=body.type,
        on=body.on,
        off=body.off,
        safe_variant=body.safe_variant,
        schema=body.value_schema,
        reason=body.reason,
        **who(request),
    )
    return 201, MadeOut(key=body.key.strip(), environments={entry.environment: entry.seq for entry in entries})


@router.post("/{environment}/flags/{key}/archive", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_archive(request: HttpRequest, environment: str, key: str, body: ArchiveBody) -> ChangedOut:
    """Archive a flag of one's own: nobody is answered from it any more."""
    entry = services.flag_archive(
        environment=environment, key=key, expected_revision=body.revision, reason=body.reason, **who(request)
    )
    return changed(environment, entry)


def _everywhere(request: HttpRequest) -> None:
    """Refuse whoever may not do this in each environment. Raises NotAllowed."""
    found = caller(request)
    a_token = found.actor.reference.startswith("token:")
    if set(found.environments) < set(Environment) or not (
        a_token or can_in_all(request.user, Environment, *MAY_CHANGE)
    ):
        raise NotAllowed(
            "A flag is made in every environment, so this takes the right to change flags in each of them."
        )
