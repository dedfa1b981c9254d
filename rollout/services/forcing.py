"""Forcing a flag to a value on every device, in one change with one entry, and putting back what stood before.

An override serves a variant; this serves a value, whichever variant has it, and gives it to `on` where neither has.
"""

from collections.abc import Mapping
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain.equality import same
from rollout.domain.flags import OFF, ON, FlagType
from rollout.domain.values import Shown, Values, said, value_checked, values_checked
from rollout.models import Flag
from rollout.selectors.flags import found
from rollout.services.locking import flags_locked, flags_save, reason_given
from rollout.services.raising import Authority
from rollout.services.values import standing


def flag_value_force(
    *,
    environment: str,
    key: str,
    value: Any,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Force a flag to a value on every device; None when it is forced to it already.

    Raises FieldUnfit for a value that the flag's type or schema refuses.
    """
    reason = reason_given(reason)
    wanted, _ = wanted_values(found(environment, key), value)
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        wanted, variant = wanted_values(flag, value)
        if flag.override_variant == variant and wanted.equals(standing(flag)):
            return None
        if flag.experiment and not wanted.equals(standing(flag)):
            raise Conflict(f"{key} is divided by the A/B test {flag.experiment['key']}. End that first.")
        before = restorable(flag)
        flag.on, flag.off = wanted.on, wanted.off
        flag.override_variant, flag.override_reason, flag.override_by = variant, reason, actor.label
        flag.override_at, flag.override_revision = clock.now(), None
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.value_forced", subject=f"flag:{key}", before=before, after=restorable(flag))
    return this.entry


def flag_value_restore(
    *,
    environment: str,
    key: str,
    before: Mapping[str, Any],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Put a flag's values and override back as an entry of `flag_value_force` says they were; None when they are so."""
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        values = values_checked(FlagType(flag.type), Values(before["on"], before["off"], flag.schema))
        variant = before["variant"]
        if flag.override_variant == variant and values.equals(standing(flag)):
            return None
        was = restorable(flag)
        flag.on, flag.off = values.on, values.off
        flag.override_variant = variant
        flag.override_reason = before["reason"] if variant else ""
        flag.override_by = actor.label if variant else ""
        flag.override_at = clock.now() if variant else None
        flag.override_revision = None
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.value_restored", subject=f"flag:{key}", before=was, after=restorable(flag))
    return this.entry


def wanted_values(flag: Flag, value: Any) -> tuple[Values, str]:
    """Return a flag's values with one that it must have, and the variant that has it. Raises FieldUnfit."""
    now = standing(flag)
    kind = FlagType(flag.type)
    if kind is FlagType.BOOLEAN:
        variant = ON if value is True else OFF
        value_checked(kind, variant, value)
        return now, variant
    checked = value_checked(kind, ON, value)
    for variant, has in ((ON, now.on), (OFF, now.off)):
        if same(has, checked):
            return now, variant
    return values_checked(kind, Values(checked, now.off, now.schema), standing=now), ON


def changes(environment: str, key: str, value: Any) -> list[Shown]:
    """Return what forcing a value would change, for people to compare. Raises FieldUnfit, NotFound."""
    flag = found(environment, key)
    wanted, variant = wanted_values(flag, value)
    now = standing(flag)
    rows = [] if same(now.on, wanted.on) else [Shown("on", said(now.on), said(wanted.on))]
    return [*rows, Shown("override", flag.override_variant or "none", variant)]


def restorable(flag: Flag) -> dict[str, Any]:
    """Return what forcing alters of a flag, as the history keeps it."""
    return {
        **flag.state(),
        "on": flag.on,
        "off": flag.off,
        "variant": flag.override_variant,
        "reason": flag.override_reason,
    }
