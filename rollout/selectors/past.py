"""How the history speaks of flags: several in one entry after a kill, all of an environment when they are made, and through
A/B tests; and which of what it says is the flag's own state."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hawkops.history.domain.travel import Kind, Told, together
from rollout.models import Flag

MEMBERS = frozenset(
    (
        "archived",
        "experiment",
        "off",
        "on",
        "override",
        "percentage",
        "pinned",
        "requires",
        "revision",
        "rules",
        "safe_variant",
        "salt",
        "schema",
        "scoped_overrides",
        "title",
        "type",
    )
)


def names(environment: str) -> Sequence[str]:
    """Return every flag that the environment ever had: a key stays taken when its flag is archived. One query."""
    return list(Flag.objects.filter(environment=environment).values_list("key", flat=True))


def read(key: str, told: Told) -> Told | None:
    """Return what an entry says of a flag's state; None when it says nothing of it."""
    kind, _, name = told.subject.partition(":")
    if kind == "flags":
        return _made(key, told)
    if kind == "experiment":
        return _divided(key, name, told)
    found = together(key, told)
    return None if found is None else replace(found, before=_own(found.before), after=_own(found.after))


def _made(key: str, told: Told) -> Told | None:
    percentages = told.after.get("percentages", {}) if isinstance(told.after, dict) else {}
    if key not in percentages:
        return None
    return replace(
        told, after={"percentage": percentages[key], "override": None, "revision": told.after.get("revision")}
    )


def _divided(key: str, test: str, told: Told) -> Told | None:
    after = told.after
    if not isinstance(after, dict) or after.get("flag") != key or "revision" not in after:
        return None
    own = {"key": test, "arms": after.get("arms")}
    if after.get("running"):
        return replace(told, before=None, after={"experiment": own, "revision": after["revision"]})
    before = told.before if isinstance(told.before, dict) else {}
    return replace(
        told,
        before={"experiment": own, "revision": before.get("revision")},
        after={"revision": after["revision"]},
    )


def _own(side: Any) -> Any:
    return {name: value for name, value in side.items() if name in MEMBERS} if isinstance(side, dict) else side


FLAGS = Kind(
    read=read,
    beside=lambda environment, _key: (f"flags:{environment}",),
    within=("flag.", "experiment."),
    names=names,
)
