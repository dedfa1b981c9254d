"""Emergency overrides, which win over every rule and percentage: kill, disable a backend, force a flag, and lift that."""

from collections.abc import Iterable, Sequence
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain import targeting
from rollout.domain.flags import OFF, ON
from rollout.domain.targeting import Constraint, Rule
from rollout.models import Flag
from rollout.services.flags import BACKENDS, FALLBACK, LITERT
from rollout.services.locking import flags_locked, flags_save, reason_given, undrilled
from rollout.services.raising import Authority

SCOPED_MOST = 10
# the runbook's reason of a drill
DRILL = "Pre-deployment test"


def flag_override_set(
    *,
    environment: str,
    key: str,
    variant: str,
    actor: Actor,
    reason: str,
    request_id: str = "",
    cause: int | None = None,
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Force a flag to one variant on every device; None when it already is."""
    return _overrides_set(
        environment=environment,
        wanted={key: variant},
        verb="flag.override_set",
        actor=actor,
        reason=reason,
        request_id=request_id,
        cause=cause,
        authority=authority,
    )


def flag_override_clear(
    *, environment: str, key: str, actor: Actor, reason: str, request_id: str = "", authority: Authority | None = None
) -> HistoryEntry | None:
    """Lift a flag's override, so that its percentage counts again; None when there is none."""
    return _overrides_set(
        environment=environment,
        wanted={key: ""},
        verb="flag.override_cleared",
        actor=actor,
        reason=reason,
        request_id=request_id,
        authority=authority,
    )


def flag_scoped_override_set(
    *,
    environment: str,
    key: str,
    variant: str,
    constraints: Iterable[Constraint],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Force a flag to one variant on the devices that meet every constraint; the same ones given again replace it."""
    where = tuple(constraints)
    if variant not in (ON, OFF):
        raise InvalidInput("An override is on or off.")
    if not where:
        raise InvalidInput("Say which devices; without a condition it is an override for all.")
    targeting.rules_checked((Rule(variant, constraints=where),), groups=frozenset())
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        document = targeting.constraints_document(where)
        kept = [one for one in undrilled(flag) if one["constraints"] != document]
        if len(kept) >= SCOPED_MOST:
            raise InvalidInput(f"A flag has at most {SCOPED_MOST} overrides for some devices; lift one first.")
        before = flag.state()
        number = max((one["number"] for one in flag.scoped_overrides), default=0) + 1
        made = _scoped_made(number, variant, reason_given(reason), actor, document)
        flag.scoped_overrides = [made, *kept]
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.override_set", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def scoped_disable(
    *, environment: str, keys: Iterable[str], cohorts: Iterable[Sequence[Constraint]], actor: Actor, reason: str
) -> HistoryEntry | None:
    """Force flags off for the devices of some cohorts, all in one change and one revision; None when they are already.

    Where such an override stands already it stays, as whoever set it left it.
    """
    where = [tuple(one) for one in cohorts]
    for one in where:
        if not one:
            raise InvalidInput("Say which devices; without a condition it is an override for all.")
        targeting.rules_checked((Rule(OFF, constraints=one),), groups=frozenset())
    with change(actor=actor, environment=environment, reason=reason) as this:
        state, flags = flags_locked(environment, keys)
        moving, before = [], {key: flag.state() for key, flag in flags.items()}
        for flag in flags.values():
            made = list(flag.scoped_overrides)
            for one in where:
                document = targeting.constraints_document(one)
                if any(kept["constraints"] == document and kept["variant"] == OFF for kept in made):
                    continue
                made = [kept for kept in made if kept["constraints"] != document]
                number = max((kept["number"] for kept in [*made, *flag.scoped_overrides]), default=0) + 1
                made.insert(0, _scoped_made(number, OFF, reason, actor, document))
            if len(made) > SCOPED_MOST:
                raise InvalidInput(
                    f"{flag.key} would have more than {SCOPED_MOST} overrides for some devices; lift one first, or"
                    " disable it everywhere."
                )
            if made != flag.scoped_overrides:
                flag.scoped_overrides = made
                moving.append(flag)
        if not moving:
            return None
        flags_save(state, moving, authority=Authority.of(actor))
        for flag in moving:
            this.record("flag.override_set", subject=f"flag:{flag.key}", before=before[flag.key], after=flag.state())
    return this.entry


def _scoped_made(number: int, variant: str, reason: str, actor: Actor, document: list[list[Any]]) -> dict[str, Any]:
    return {
        "number": number,
        "variant": variant,
        "reason": reason,
        "by": actor.label,
        "at": clock.now().isoformat(),
        "constraints": document,
    }


def flag_scoped_override_clear(
    *,
    environment: str,
    key: str,
    number: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Lift one override for some devices; None when it is lifted already."""
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if any(one["number"] == number and one.get("group") for one in flag.scoped_overrides):
            raise Conflict(f"Override {number} of {key} is a drill, which ends by itself. Stop it as a drill.")
        kept = [one for one in flag.scoped_overrides if one["number"] != number]
        if len(kept) == len(flag.scoped_overrides):
            return None
        before = flag.state()
        flag.scoped_overrides = kept
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.override_cleared", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def kill(
    *, environment: str, actor: Actor, reason: str, request_id: str = "", cause: int | None = None
) -> HistoryEntry | None:
    """Turn LiteRT off and cloud fallback on, in one atomic change with one entry; None when both already are.

    Never refused for its reason: an empty one becomes the runbook's.
    """
    return _overrides_set(
        environment=environment,
        wanted={LITERT: OFF, FALLBACK: ON},
        verb="flag.killed",
        actor=actor,
        reason=reason.strip() or "Production incident",
        request_id=request_id,
        cause=cause,
    )


def backend_disable(
    *, environment: str, backend: str, actor: Actor, reason: str, request_id: str = "", cause: int | None = None
) -> HistoryEntry | None:
    """Turn one backend (gpu, npu or adaptive switching) off on every device; None when it already is."""
    if backend not in BACKENDS:
        raise InvalidInput(f"There is no backend {backend!r}; use one of {', '.join(BACKENDS)}.")
    return _overrides_set(
        environment=environment,
        wanted={BACKENDS[backend]: OFF},
        verb="flag.override_set",
        actor=actor,
        reason=reason.strip() or "Performance degradation",
        request_id=request_id,
        cause=cause,
    )


def backends_disable(
    *,
    environment: str,
    actor: Actor,
    reason: str,
    backends: Iterable[str] = tuple(BACKENDS),
    request_id: str = "",
    cause: int | None = None,
) -> HistoryEntry | None:
    """Turn GPU, NPU and adaptive switching, or some of them, off on every device in one change; None when they are."""
    return _overrides_set(
        environment=environment,
        wanted={BACKENDS[name]: OFF for name in backends},
        verb="flag.override_set",
        actor=actor,
        reason=reason.strip() or "Stability issues",
        request_id=request_id,
        cause=cause,
    )


def reenable(
    *,
    environment: str,
    keys: Iterable[str],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Lift the overrides of the flags in one change; None when none is in force. A raise: it needs a reason."""
    wanted = dict.fromkeys(keys, "")
    if not wanted:
        raise InvalidInput("Choose at least one override to lift.")
    return _overrides_set(
        environment=environment,
        wanted=wanted,
        verb="flag.reenabled",
        actor=actor,
        reason=reason_given(reason),
        request_id=request_id,
        authority=authority,
    )


def _only_a_drill(flag: Flag, reason: str) -> bool:
    """Say whether what is in force is a drill, which a press in earnest takes over: its end leaves that alone."""
    return flag.override_reason == DRILL != reason


def _overrides_set(
    *,
    environment: str,
    wanted: dict[str, str],
    verb: str,
    actor: Actor,
    reason: str,
    request_id: str,
    cause: int | None = None,
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Set or (empty variant) clear several overrides in one revision and one entry."""
    if any(variant not in ("", ON, OFF) for variant in wanted.values()):
        raise InvalidInput("An override is on or off.")
    reason = reason.strip()[:300]
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id, cause=cause) as this:
        state, flags = flags_locked(environment, wanted)
        moving = [
            flag
            for key, flag in flags.items()
            if flag.override_variant != wanted[key] or (wanted[key] and _only_a_drill(flag, reason))
        ]
        if not moving:
            return None
        before = {flag.key: flag.state() for flag in moving}
        for flag in moving:
            variant = wanted[flag.key]
            flag.override_variant = variant
            flag.override_reason = reason if variant else ""
            flag.override_by = actor.label if variant else ""
            flag.override_at = clock.now() if variant else None
            flag.override_revision = None
        flags_save(state, moving, authority=authority or Authority.of(actor))
        after = {flag.key: flag.state() for flag in moving}
        subject = LITERT if LITERT in after else moving[0].key
        single = len(after) == 1
        this.record(
            verb,
            subject=f"flag:{subject}",
            before=before[subject] if single else before,
            after=after[subject] if single else after,
        )
    return this.entry
