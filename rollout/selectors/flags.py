"""Reading flags."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from hawkops.core.errors import NotFound
from rollout.domain import targeting
from rollout.models import EnvironmentFlags, Flag

# a stored flag, as the apps above name what they are given here
Stored = Flag


def revision(environment: str) -> int:
    """Return the environment's revision; 0 before there are flags."""
    return EnvironmentFlags.objects.filter(pk=environment).values_list("revision", flat=True).first() or 0


def live(environment: str) -> QuerySet[Flag]:
    """Return the flags that devices are answered from: those that are not archived."""
    return Flag.objects.filter(environment=environment, archived_at=None)


def flags(environment: str, *, archived: bool = False) -> list[Flag]:
    """Return the environment's flags in the runbook's order, then a team's own; archived ones when asked. One query."""
    return list(Flag.objects.filter(environment=environment) if archived else live(environment))


def flag(environment: str, key: str) -> Flag | None:
    """Return one flag, archived or not, or None."""
    return Flag.objects.filter(environment=environment, key=key).first()


def found(environment: str, key: str) -> Flag:
    """Return one flag, archived or not. Raises NotFound."""
    one = flag(environment, key)
    if one is None:
        raise NotFound(f"There is no flag {key!r} in {environment}.")
    return one


def overridden(environment: str) -> list[Flag]:
    """Return the flags under an emergency override, newest first."""
    return list(live(environment).exclude(override_variant="").order_by("-override_at"))


def scoped(environment: str) -> list[tuple[Flag, dict[str, Any]]]:
    """Return (flag, override) of every emergency override that is for some devices only."""
    return [(flag, one) for flag in flags(environment) for one in overrides_shown(flag)]


def overrides_shown(flag: Flag) -> list[dict[str, Any]]:
    """Return a flag's overrides for some devices, with the time as a time and the constraints in words."""
    return [
        {
            **one,
            "at": datetime.fromisoformat(one["at"]),
            "where": [
                *([f"in {one['group']}"] if one.get("group") else []),
                *(str(constraint) for constraint in targeting.constraints(one["constraints"])),
            ],
            "drill": bool(one.get("group")),
        }
        for one in flag.scoped_overrides
    ]


def flag_percentages(environment: str) -> dict[str, float]:
    """Return percent by key."""
    return {key: thousandths / 1000 for key, thousandths in live(environment).values_list("key", "thousandths")}
