"""Who has which role and team, since when and from whom; keys and tokens with their age; what changed since a review."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from hawkops.accounts.models import ApiToken, DeviceKey, RoleGrant, TeamMembership, User
from hawkops.compliance.domain import pack, told
from hawkops.core import clock
from hawkops.history.models import HistoryEntry

REVIEWED = "access.reviewed"
# what changes who may do what
CHANGING = (*told.GRANTED, told.TEAMED)
CHANGING_BEGINS = ("person.", "key.", "token.", "phone.", "role.")
# people come and go: nothing of that changes what they may do
NO_CHANGE = ("person.signed_in", "person.password_changed")
ACTS = (
    "proposal.",
    "step.skip",
    "lockdown.",
    "runbook.",
    "phase.",
    "flag.killed",
    "rollback.made",
    "break_glass.opened",
)
CHANGES_SHOWN = 50


@dataclass(frozen=True)
class Held:
    """A role or team that somebody holds now. `told` is the line of the history that gave it, None when nothing did."""

    kind: str
    name: str
    environment: str
    told: dict[str, Any] | None


@dataclass(frozen=True)
class Access:
    """What one person may do, and when he or she was last here."""

    person: User
    held: tuple[Held, ...]
    acted: HistoryEntry | None

    @property
    def reference(self) -> str:
        """What the history calls the person."""
        return f"person:{self.person.pk}"


@dataclass(frozen=True)
class Review:
    """Everybody's access in an environment. `digest` is that of who may do what: not of when somebody was last seen."""

    at: datetime
    people: tuple[Access, ...]
    keys: tuple[DeviceKey, ...]
    tokens: tuple[ApiToken, ...]
    digest: str
    last: HistoryEntry | None
    changed: tuple[HistoryEntry, ...]
    names: dict[str, str]


def role_history(environment: str, *, person: str = "") -> told.Section:
    """Return who held which role in an environment, or in all, from when to when, newest first. `person` narrows it."""
    entries = HistoryEntry.objects.filter(verb__in=CHANGING, environment__in=("", environment)).order_by("seq")
    if person:
        entries = entries.filter(subject=person)
    lines = told.roles([one.row() for one in entries])
    return [one for one in reversed(lines) if one["environment"] in ("all", environment)]


def acts(environment: str) -> told.Section:
    """Return every act in an environment that takes two people, and what one did alone, newest first."""
    begins = Q()
    for verb in ACTS:
        begins |= Q(verb__startswith=verb)
    entries = HistoryEntry.objects.filter(begins | Q(verb="token.created"), environment__in=("", environment))
    return told.acts([one.row() for one in entries.order_by("seq")])[::-1]


def names_of(references: set[str]) -> dict[str, str]:
    """Return what people are called now, by reference."""
    numbers = {one.partition(":")[2] for one in references if one.startswith("person:")}
    found = User.objects.filter(pk__in=[int(one) for one in numbers if one.isdecimal()])
    return {f"person:{pk}": name for pk, name in found.values_list("pk", "username")}


def review(environment: str) -> Review:
    """Return everybody's access as it stands, when it was last reviewed, and what changed since."""
    lines = {
        (one["person"], one["kind"], one["name"], one["environment"]): one
        for one in role_history(environment)
        if one["until"] is None
    }
    people = tuple(
        _access(user, environment, lines) for user in User.objects.filter(is_active=True).order_by("username")
    )
    now = clock.now()
    keys = tuple(one for one in DeviceKey.objects.filter(environment=environment) if one.live)
    tokens = tuple(
        one
        for one in ApiToken.objects.filter(environment__in=("", environment)).select_related("created_by")
        if one.live
    )
    last = _last(environment)
    given = {one.told["given_by"] for access in people for one in access.held if one.told}
    changed = _changed(environment, last)
    return Review(
        now,
        people,
        keys,
        tokens,
        _digest(people, keys, tokens),
        last,
        changed,
        names_of(given | {one.subject for one in changed}),
    )


def _access(user: User, environment: str, lines: dict[tuple[str, str, str, str], dict[str, Any]]) -> Access:
    reference = f"person:{user.pk}"
    held = [
        Held("role", grant.role, grant.environment or "all", None)
        for grant in RoleGrant.objects.filter(user=user, environment__in=("", environment)).order_by(
            "role", "environment"
        )
    ]
    held += [Held("team", one.team, "all", None) for one in TeamMembership.objects.filter(user=user).order_by("team")]
    acted = HistoryEntry.objects.filter(actor=reference).order_by("-seq").first()
    return Access(
        user,
        tuple(
            Held(one.kind, one.name, one.environment, lines.get((reference, one.kind, one.name, one.environment)))
            for one in held
        ),
        acted,
    )


def _digest(people: Sequence[Access], keys: Sequence[DeviceKey], tokens: Sequence[ApiToken]) -> str:
    """Digest who may do what by references: names can be erased, and the digest still says the same."""
    return pack.digest(
        {
            "people": sorted(
                [access.reference, one.kind, one.name, one.environment] for access in people for one in access.held
            ),
            "keys": sorted([f"device_key:{one.pk}", one.environment] for one in keys),
            "tokens": sorted([f"api_token:{one.pk}", one.environment, *sorted(one.scopes)] for one in tokens),
        }
    )


def _last(environment: str) -> HistoryEntry | None:
    rows = HistoryEntry.objects.select_related("personal").filter(verb=REVIEWED, subject=f"access:{environment}")
    return rows.order_by("-seq").first()


def _changed(environment: str, last: HistoryEntry | None) -> tuple[HistoryEntry, ...]:
    if last is None:
        return ()
    begins = Q()
    for verb in CHANGING_BEGINS:
        begins |= Q(verb__startswith=verb)
    rows = HistoryEntry.objects.select_related("personal").filter(
        begins, seq__gt=last.seq, environment__in=("", environment)
    )
    return tuple(rows.exclude(verb__in=NO_CHANGE).order_by("-seq")[:CHANGES_SHOWN])
