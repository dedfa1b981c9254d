"""Flags before a rollout: several to 0 % in one change, and a drill of the switches. One revision and one entry each."""

from collections.abc import Iterable

from hawkops.core import clock
from hawkops.core.errors import Conflict
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.domain.flags import ON
from rollout.models import Flag
from rollout.services.flags import LITERT
from rollout.services.locking import flags_locked, flags_save, reason_given
from rollout.services.raising import Authority


def flags_zero(
    *, environment: str, keys: Iterable[str], actor: Actor, reason: str, request_id: str = ""
) -> tuple[int, list[str]]:
    """Set flags to 0 % together; return the revision they are at, and which of them were above 0 %.

    Raises Conflict, and then changes none, when a percentage of 0 would not keep one of them off.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, keys)
        if held := [why for key in keys if (why := _held_on(flags[key]))]:
            raise Conflict(f"0 % would not turn everything off: {', '.join(held)}. Change that first.")
        moving = [flag for flag in flags.values() if flag.thousandths]
        if not moving:
            return state.revision, []
        before = {flag.key: flag.state() for flag in moving}
        for flag in moving:
            flag.thousandths = 0
        flags_save(state, moving, authority=Authority.of(actor))
        after = {flag.key: flag.state() for flag in moving}
        subject = LITERT if LITERT in after else moving[0].key
        single = len(after) == 1
        this.record(
            "flag.percentage_set",
            subject=f"flag:{subject}",
            before=before[subject] if single else before,
            after=after[subject] if single else after,
        )
    return state.revision, [flag.key for flag in moving]


def switches_press(*, environment: str, keys: Iterable[str], actor: Actor, reason: str, request_id: str = "") -> int:
    """Force every flag to its safe value in one change; return the revision.

    Raises Conflict when one is forced already: a press that changes nothing proves nothing.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, keys)
        if forced := [key for key in keys if flags[key].override_variant]:
            raise Conflict(
                f"{', '.join(forced)} {'is' if len(forced) == 1 else 'are'} under an override already, so a press would "
                "prove nothing. Lift what is in force on the emergency page first."
            )
        before = {key: flag.state() for key, flag in flags.items()}
        at = clock.now()
        for flag in flags.values():
            flag.override_variant = flag.safe_variant
            flag.override_reason = reason_given(reason)
            flag.override_by = actor.label
            flag.override_at = at
            flag.override_revision = None
        flags_save(state, list(flags.values()), authority=Authority.of(actor))
        after = {key: flag.state() for key, flag in flags.items()}
        this.record(
            "flag.killed", subject=f"flag:{LITERT if LITERT in after else min(after)}", before=before, after=after
        )
    return state.revision


def switches_lift(
    *, environment: str, keys: Iterable[str], revision: int, actor: Actor, reason: str, request_id: str = ""
) -> list[str]:
    """Lift the overrides that a press at a revision set, in one change; return which.

    What was forced since by somebody else stays in force, and what somebody lifted meanwhile is left alone.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, keys)
        ours = [flag for flag in flags.values() if flag.override_variant and flag.override_revision == revision]
        if not ours:
            return []
        before = {flag.key: flag.state() for flag in ours}
        for flag in ours:
            flag.override_variant = flag.override_reason = flag.override_by = ""
            flag.override_at = flag.override_revision = None
        flags_save(state, ours, authority=Authority.of(actor))
        after = {flag.key: flag.state() for flag in ours}
        subject = LITERT if LITERT in after else ours[0].key
        single = len(after) == 1
        this.record(
            "flag.reenabled",
            subject=f"flag:{subject}",
            before=before[subject] if single else before,
            after=after[subject] if single else after,
        )
    return [flag.key for flag in ours]


def _held_on(flag: Flag) -> str:
    """Say what serves a flag's on value whatever its percentage; empty when nothing does."""
    known = flag.domain()
    if flag.override_variant == ON:
        return f"{flag.key} is forced on"
    if any(one.variant == ON for one in known.scoped):
        return f"{flag.key} is forced on for some devices"
    if any(rule.variant == ON and rule.thousandths for rule in known.rules):
        return f"{flag.key} has rules that serve on"
    if ON in known.pinned.values():
        return f"{flag.key} has devices pinned to on"
    return ""
